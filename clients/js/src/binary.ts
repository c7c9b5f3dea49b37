/**
 * The field of a body that has a value: `binary` for bytes, else `data`. Values that JSON
 * would change silently are refused: a Map or a Blob would arrive as {}.
 */
export function payload(value: unknown): { data?: unknown; binary?: string } {
  if (value instanceof ArrayBuffer) value = new Uint8Array(value)
  if (!ArrayBuffer.isView(value)) {
    JSON.stringify(value, (_, v) => {
      const kind = typeof v === 'number' && !isFinite(v) ? `${v}` : {}.toString.call(v).slice(8, -1)
      if (!/^(Object|Array|String|Number|Boolean|Null|Undefined)$/.test(kind)) {
        throw new TypeError(`JSON has no ${kind}: send plain values, or an ArrayBuffer alone`)
      }
      return v
    })
    return { data: value ?? null }
  }
  const bytes = new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
  return { binary: btoa(Array.from(bytes, (b) => String.fromCharCode(b)).join('')) }
}

/** The bytes of base64. */
export const bytes = (base64: string): Uint8Array<ArrayBuffer> => Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))

/** The value of such a field. */
export function value(body: { data?: unknown; binary?: string }): unknown {
  return body.binary === undefined ? body.data : bytes(body.binary)
}
