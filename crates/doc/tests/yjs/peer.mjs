// Real Yjs clients, driven line by line by ../yjs.rs: one JSON request per line on standard
// input, one JSON answer per line on standard output.
import { createInterface } from 'node:readline'
import * as Y from 'yjs'

const hex = (bytes) => Buffer.from(bytes).toString('hex')
const bytes = (text) => new Uint8Array(Buffer.from(text, 'hex'))

/** A client with its document, its undo stack and the updates it made and has not sent. */
class Client {
  constructor(id) {
    this.doc = new Y.Doc()
    this.doc.clientID = id
    this.text = this.doc.getText('content')
    this.undo = new Y.UndoManager(this.text, { captureTimeout: 0 })
    this.made = []
    this.doc.on('update', (update, origin) => {
      if (origin !== 'server') this.made.push(update)
    })
  }

  takeMade() {
    const made = this.made.map(hex)
    this.made = []
    return made
  }
}

let clients = []

const commands = {
  // Starts a case with one client for each id.
  start: ({ ids }) => {
    clients = ids.map((id) => new Client(id))
    return {}
  },
  // Replaces `remove` units at `at`, both cut to the text; answers with the updates.
  edit: ({ client, at, remove, insert }) => {
    const { doc, text } = clients[client]
    doc.transact(() => {
      const start = Math.min(at, text.length)
      text.delete(start, Math.min(remove, text.length - start))
      text.insert(start, insert)
    })
    return { updates: clients[client].takeMade() }
  },
  undo: ({ client }) => {
    clients[client].undo.undo()
    return { updates: clients[client].takeMade() }
  },
  redo: ({ client }) => {
    clients[client].undo.redo()
    return { updates: clients[client].takeMade() }
  },
  // Takes an update from the server.
  apply: ({ client, update }) => {
    Y.applyUpdate(clients[client].doc, bytes(update), 'server')
    return {}
  },
  // The answer to a step 1.
  diff: ({ client, vector }) => ({
    update: hex(Y.encodeStateAsUpdate(clients[client].doc, bytes(vector))),
  }),
  vector: ({ client }) => ({ vector: hex(Y.encodeStateVector(clients[client].doc)) }),
  merge: ({ updates }) => ({ update: hex(Y.mergeUpdates(updates.map(bytes))) }),
  text: ({ client }) => ({ text: clients[client].text.toString() }),
  pending: ({ client }) => {
    const { store } = clients[client].doc
    return { pending: store.pendingStructs !== null || store.pendingDs !== null }
  },
  // A map that the server wrote, as a reader sees it.
  map: ({ name, update }) => {
    const doc = new Y.Doc()
    Y.applyUpdate(doc, bytes(update))
    return { map: doc.getMap(name).toJSON() }
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  const request = JSON.parse(line)
  let answer
  try {
    answer = commands[request.command](request)
  } catch (error) {
    answer = { error: String(error.stack ?? error) }
  }
  process.stdout.write(JSON.stringify(answer) + '\n')
}
