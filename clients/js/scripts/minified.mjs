// Makes the client one file, as small as possible.

// Names of properties that only the client's own parts use. They become
// single letters. Names that users, servers, other tabs or browsers know must not be here: the
// tests of the built package find such mistakes.
const own = [
  'asked', 'begin', 'broken', 'channel', 'confirm', 'deadline', 'delay', 'deliver', 'down',
  'emitVolatile', 'empty', 'end', 'expire', 'expired', 'failed', 'flush', 'force', 'frame', 'gateway', 'gotHeaders', 'hear',
  'hello', 'hidden', 'hurry', 'idle', 'json', 'kind', 'lasting', 'lead', 'lengthen', 'network', 'page',
  'patience', 'persist', 'position', 'put', 'query', 'refused', 'restored', 'seen', 'seize', 'send', 'settle',
  'shorten', 'stale', 'start', 'state', 'stop', 'take', 'tell', 'track', 'wake', 'watch', 'withdraw', 'yield',
]

/** For terser. */
export const options = { module: true, ecma: 2022, compress: { passes: 3, unsafe_arrows: true, pure_getters: true, keep_fargs: false } }

/** Returns the code of src/client.ts with all its imports, and a source map, made by the caller's copies of esbuild and terser. */
export async function minified(build, minify, library) {
  const { outputFiles } = await build({
    absWorkingDir: library, entryPoints: ['src/client.ts'], bundle: true, write: false, outdir: 'dist',
    format: 'esm', target: 'es2022', sourcemap: 'external', legalComments: 'none', logLevel: 'warning',
    tsconfigRaw: { compilerOptions: { useDefineForClassFields: false } },
  })
  const [map, code] = outputFiles.map((f) => f.text)
  const unused = own.filter((name) => !new RegExp(`[.{,]\\s*(async )?${name}\\b`).test(code))
  if (unused.length) throw new Error(`scripts/minified.mjs names properties that are gone: ${unused}`)
  return minify(code, {
    ...options,
    mangle: { properties: { builtins: true, regex: new RegExp(`^(${own.join('|')})$`) } },
    sourceMap: { content: map, url: 'client.js.map', includeSources: true },
  })
}
