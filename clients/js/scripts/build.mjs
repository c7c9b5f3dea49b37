// Builds dist: modules and types with tsc, and one minified file that holds everything,
// for pages without a bundler. Prints what it weighs, and fails when that is too much.
import { build } from 'esbuild'
import { execFileSync } from 'node:child_process'
import { rmSync, writeFileSync } from 'node:fs'
import { gzipSync } from 'node:zlib'

// Bytes, gzipped. The goal was 8 KB: what is over it is named in docs/decisions/017-javascript-client.md.
const limits = { connect: 10_050, everything: 11_300 }

rmSync('dist', { recursive: true, force: true })
execFileSync(process.execPath, ['node_modules/typescript/bin/tsc', '-p', 'tsconfig.build.json'], { stdio: 'inherit' })

async function bundle(contents) {
  const { outputFiles } = await build({
    stdin: { contents, resolveDir: '.' }, bundle: true, minify: true, format: 'esm', target: 'es2022', write: false,
  })
  return outputFiles[0].contents
}

let heavy = false
for (const [name, contents] of [
  ['connect', `export { connect } from './dist/index.js'`],
  ['everything', `export * from './dist/index.js'`],
]) {
  const code = await bundle(contents)
  const size = gzipSync(code, { level: 9 }).length
  console.log(`${name}: ${code.length} bytes minified, ${size} gzipped (at most ${limits[name]})`)
  heavy ||= size > limits[name]
  if (name === 'everything') writeFileSync('dist/culvert.min.js', code)
}
if (heavy) {
  console.error('the bundle is too heavy')
  process.exit(1)
}
