// Runs the tests of a folder: bundled one by one, by node's own runner.
// Usage: node scripts/test.mjs FOLDER [NODE_TEST_OPTION...]
import { build } from 'esbuild'
import { spawnSync } from 'node:child_process'
import { mkdirSync, readdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'

const [folder, ...options] = process.argv.slice(2)
const out = join('build', folder)
rmSync(out, { recursive: true, force: true })
mkdirSync(out, { recursive: true })
const entryPoints = readdirSync(folder).filter((f) => f.endsWith('.test.ts')).map((f) => join(folder, f))
await build({
  entryPoints, outdir: out, outExtension: { '.js': '.mjs' }, bundle: true, platform: 'node',
  format: 'esm', target: 'node20', packages: 'external', sourcemap: 'inline', logLevel: 'warning',
})
const files = entryPoints.map((f) => join('build', f.replace(/\.ts$/, '.mjs')))
const { status } = spawnSync(process.execPath, ['--enable-source-maps', '--test', ...options, ...files], { stdio: 'inherit' })
process.exit(status ?? 1)
