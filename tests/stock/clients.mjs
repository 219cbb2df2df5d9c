// The stock clients behind one small face, so that each test runs on all of them.
import {
  HocuspocusProvider as Hocuspocus3,
  HocuspocusProviderWebsocket as Socket3,
} from "hocuspocus-3";
import {
  HocuspocusProvider as Hocuspocus4,
  HocuspocusProviderWebsocket as Socket4,
} from "hocuspocus-4";
import WebSocket from "ws";
import { WebsocketProvider as YWebsocket2 } from "y-websocket-2";
import { WebsocketProvider as YWebsocket3 } from "y-websocket-3";
import * as Y from "yjs";

class Client {
  doc = new Y.Doc();
  text = this.doc.getText("content");

  append(line) {
    this.text.insert(this.text.length, line);
  }

  toString() {
    return this.text.toString();
  }
}

function yWebsocket(name, Provider) {
  return {
    name,
    open(server, repl, path, token = server.token) {
      const client = new Client();
      client.closes = [];
      client.provider = new Provider(
        `ws://localhost:${server.port}/api/v1/repls/${repl}/sync`,
        path,
        client.doc,
        {
          params: { token },
          WebSocketPolyfill: WebSocket,
          // Else clients in one process would bypass the server.
          disableBc: true,
        },
      );
      client.provider.on("connection-close", (event) => event && client.closes.push(event.code));
      client.isSynced = () => client.provider.synced;
      client.awareness = client.provider.awareness;
      client.destroy = () => client.provider.destroy();
      return client;
    },
  };
}

function hocuspocus(name, Provider, Socket) {
  const socketTo = (server) =>
    new Socket({
      url: `ws://localhost:${server.port}/api/v1/collab`,
      WebSocketPolyfill: WebSocket,
    });
  return {
    name,
    socketTo,
    open(server, repl, path, token = server.token, options = {}) {
      const client = new Client();
      const socket = options.socket ?? socketTo(server);
      client.denied = [];
      client.provider = new Provider({
        websocketProvider: socket,
        name: `${repl}/${path}`,
        document: client.doc,
        token,
        onAuthenticationFailed: ({ reason }) => client.denied.push(reason),
        ...options.configuration,
      });
      client.provider.attach();
      client.isSynced = () => client.provider.isSynced;
      client.awareness = client.provider.awareness;
      client.destroy = () => {
        client.provider.destroy();
        if (!options.socket) socket.destroy();
      };
      return client;
    },
  };
}

export const yWebsockets = [
  yWebsocket("y-websocket 2", YWebsocket2),
  yWebsocket("y-websocket 3", YWebsocket3),
];
export const hocuspoci = [
  hocuspocus("@hocuspocus/provider 3", Hocuspocus3, Socket3),
  hocuspocus("@hocuspocus/provider 4", Hocuspocus4, Socket4),
];
export const all = [...yWebsockets, ...hocuspoci];
