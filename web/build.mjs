// Builds assets/chat.js from src and the client, which is minified as in
// its package. The same sources give the same bytes on every machine, because the tools are
// pinned and the output contains no paths.
// With --check it writes nothing, and fails if the committed file differs.
import { build } from 'esbuild'
import { readFileSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { minify } from 'terser'
import { minified } from '../clients/js/scripts/minified.mjs'

const here = import.meta.dirname ?? new URL('.', import.meta.url).pathname
const committed = resolve(here, 'assets/chat.js')
const library = resolve(here, '../clients/js')
const client = {
  name: 'client',
  setup(b) {
    b.onResolve({ filter: /^@culvert\/client$/ }, () => ({ path: 'client', namespace: 'culvert' }))
    b.onLoad({ filter: /./, namespace: 'culvert' }, async () => ({ contents: (await minified(build, minify, library)).code }))
  },
}
const { outputFiles } = await build({
  absWorkingDir: here, entryPoints: ['src/main.ts'], bundle: true, write: false,
  format: 'esm', target: 'es2022', minify: true, charset: 'utf8', legalComments: 'none', logLevel: 'warning',
  tsconfigRaw: { compilerOptions: { useDefineForClassFields: false } },
  plugins: [client],
})
const [{ contents }] = outputFiles
if (!process.argv.includes('--check')) writeFileSync(committed, contents)
else if (!readFileSync(committed).equals(contents)) {
  console.error('assets/chat.js is not what the sources give: run `make web` and commit it')
  process.exit(1)
}
