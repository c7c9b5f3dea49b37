// Builds dist: the client and CulvertWebSocket as a module each, their types, and one file
// that holds everything, for pages without a bundler. Prints what the client weighs, and
// fails when that is too much.
import { build } from 'esbuild'
import { execFileSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { minify } from 'terser'
import { minified, options } from './minified.mjs'

const limit = 8000 // bytes of connect with all it needs, gzipped

rmSync('dist', { recursive: true, force: true })
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'], { stdio: 'inherit' })

const client = await minified(build, minify, process.cwd())
writeFileSync('dist/client.js', client.code)
writeFileSync('dist/client.js.map', client.map)
await build({
  entryPoints: ['src/index.ts', 'src/websocket.ts'], outdir: 'dist', format: 'esm', target: 'es2022', minify: true,
  tsconfigRaw: { compilerOptions: { useDefineForClassFields: false } },
})

const bundled = async (contents, o) => {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: '.' }, bundle: true, format: 'esm', target: 'es2022', write: false, ...o,
  })
  return outputFiles[0].text
}
const bundle = async (contents) => (await minify(await bundled(contents), options)).code
const weight = (code) => gzipSync(code, { level: 9 }).length

const everything = await bundle(`export * from './dist/index.js'`)
writeFileSync('dist/culvert.min.js', everything)
const connect = `export { connect } from './dist/index.js'`
const size = weight(await bundle(connect))
console.log(`connect: ${size} bytes gzipped, of at most ${limit}; minified by esbuild ${weight(await bundled(connect, { minify: true }))}`)
console.log(`everything, with CulvertWebSocket: ${weight(everything)}`)
if (size >= limit) {
  console.error('the client is too heavy')
  process.exit(1)
}
