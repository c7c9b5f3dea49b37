// Packs the package, installs it in a fresh project and uses it there: its types with
// tsc, its modules in Node, and its bundle as a file without any import.
import { execFileSync } from 'node:child_process'
import assert from 'node:assert/strict'
import { copyFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const dir = mkdtempSync(join(tmpdir(), 'culvert-pack-'))
const npm = (args, cwd) => execFileSync('npm', [...args, '--no-audit', '--no-fund', '--ignore-scripts'], { cwd, encoding: 'utf8' })
try {
  const [{ filename, files }] = JSON.parse(npm(['pack', '--json', '--pack-destination', dir], '.'))
  const odd = files.map((f) => f.path).filter((p) => !/^(LICENSE|README\.md|package\.json|dist\/[a-z]+(\.d\.ts|\.js|\.js\.map|\.min\.js))$/.test(p))
  assert.deepEqual(odd, [], 'nothing but what users need is packed')

  writeFileSync(join(dir, 'package.json'), '{"name":"fresh","private":true,"type":"module"}')
  npm(['install', join(dir, filename)], dir)
  copyFileSync('test/types/package.ts', join(dir, 'package.ts'))
  execFileSync(process.execPath, [resolve('node_modules/typescript/bin/tsc'), '--noEmit', '--strict', '--target', 'es2022',
    '--lib', 'es2022,dom', '--types', '', '--module', 'nodenext', 'package.ts'], { cwd: dir, stdio: 'inherit' })
  writeFileSync(join(dir, 'use.mjs'), `
    import assert from 'node:assert/strict'
    import { connect, CulvertWebSocket, CulvertError } from '@culvert/client'
    import * as bundle from '@culvert/client/bundle'
    for (const c of [connect, bundle.connect]) {
      const socket = c('http://127.0.0.1:9', { token: 'none' })
      assert.equal(socket.connected, false)
      await socket.close()
    }
    assert.equal(CulvertWebSocket.OPEN, 1)
    assert.equal(new bundle.CulvertError('x').status, new CulvertError('x').status)
  `)
  execFileSync(process.execPath, ['use.mjs'], { cwd: dir, stdio: 'inherit' })
  const whole = readFileSync('dist/culvert.min.js', 'utf8')
  assert.doesNotMatch(whole, /\bfrom\s*["']|\bimport\s*["'(]/, 'the bundle imports nothing')
  console.log(`packed ${files.length} files, installed and used`)
} finally {
  rmSync(dir, { recursive: true, force: true })
}
