export * from './client.js'
export { CulvertWebSocket } from './websocket.js'
export type { WebSocketOptions } from './websocket.js'
