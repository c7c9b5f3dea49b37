/** The element of the page with this id. */
export function byId<T extends HTMLElement>(id: string): T {
  const found = document.getElementById(id)
  if (!found) throw new Error(`the page has no #${id}`)
  return found as T
}

/** A new element. Text is never interpreted as HTML. */
export function make<K extends keyof HTMLElementTagNameMap>(
  tag: K, props: { class?: string; text?: string } = {}, ...children: Node[]
): HTMLElementTagNameMap[K] {
  const e = document.createElement(tag)
  if (props.class) e.className = props.class
  if (props.text !== undefined) e.textContent = props.text
  e.append(...children)
  return e
}
