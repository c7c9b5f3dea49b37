/** What travels as the member `binary`. */
export type Binary = ArrayBuffer | ArrayBufferView

const bytes = (b: Binary) =>
  b instanceof ArrayBuffer ? new Uint8Array(b) : new Uint8Array(b.buffer, b.byteOffset, b.byteLength)

const isBinary = (v: unknown): v is Binary => v instanceof ArrayBuffer || ArrayBuffer.isView(v)

/** The member of a body that carries a value: `binary` for bytes, else `data`. */
export function payload(value: unknown): { data?: unknown; binary?: string } {
  if (!isBinary(value)) return { data: value ?? null }
  let text = ''
  for (const b of bytes(value)) text += String.fromCharCode(b)
  return { binary: btoa(text) }
}

/** The value that such a member carries. */
export function value(body: { data?: unknown; binary?: string }): unknown {
  return body.binary === undefined ? body.data : Uint8Array.from(atob(body.binary), (c) => c.charCodeAt(0))
}
