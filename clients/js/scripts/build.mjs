// Builds dist: client.js, which is the client in one file; websocket.js and index.js, which
// import it; culvert.min.js, all of these in one file; and their types. Prints what they
// weigh, and fails when that is too much.
import { build } from 'esbuild'
import { execFileSync } from 'node:child_process'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { minify } from 'terser'
import { minified, options } from './minified.mjs'

// Bytes, gzipped. README.md and CHANGELOG.md state the first one.
const limits = { 'client.js': 9000, 'culvert.min.js': 10_000 }

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

writeFileSync('dist/culvert.min.js', await bundle(`export * from './dist/index.js'`))
for (const [file, limit] of Object.entries(limits)) {
  const size = weight(readFileSync(`dist/${file}`))
  console.log(`dist/${file}: ${size} bytes gzipped, of less than ${limit}`)
  if (size < limit) continue
  console.error('the bundle is too large')
  process.exitCode = 1
}
const connect = await bundled(`export { connect } from './dist/index.js'`, { minify: true })
console.log(`connect in a bundle by esbuild: ${weight(connect)}`)
