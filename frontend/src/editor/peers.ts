/**
 * Other people's carets and selections, and one's own told to them. Positions travel as Yjs
 * relative positions (the format of y-codemirror.next, so stock clients see ours). Resolving
 * one walks the document, so it is done only when its owner moved; in between, positions are
 * mapped through the changes like any decoration.
 */
import { type Extension, StateEffect, StateField, type Text } from "@codemirror/state";
import {
  Decoration,
  type DecorationSet,
  EditorView,
  ViewPlugin,
  WidgetType,
} from "@codemirror/view";
import type { Awareness } from "y-protocols/awareness";
import * as Y from "yjs";
import { fromDocument } from "./binding";

export interface Peer {
  client: number;
  member: string | null;
  name: string;
  colour: string;
  anchor: number;
  head: number;
  /** When it last moved by its owner's hand; the name shows for a while. */
  movedAt: number;
}

const setPeers = StateEffect.define<ReadonlyMap<number, Peer>>();

export const peersField = StateField.define<ReadonlyMap<number, Peer>>({
  create: () => new Map(),
  update(peers, transaction) {
    for (const effect of transaction.effects) if (effect.is(setPeers)) return effect.value;
    if (!transaction.docChanged || peers.size === 0) return peers;
    const mapped = new Map<number, Peer>();
    for (const [client, peer] of peers) {
      mapped.set(client, {
        ...peer,
        anchor: transaction.changes.mapPos(peer.anchor, 1),
        head: transaction.changes.mapPos(peer.head, 1),
      });
    }
    return mapped;
  },
  provide: (field) =>
    EditorView.decorations.from(field, (peers) => (view) => draw(peers, view.state.doc)),
});

class CaretWidget extends WidgetType {
  private readonly peer: Peer;
  constructor(peer: Peer) {
    super();
    this.peer = peer;
  }

  override eq(other: CaretWidget): boolean {
    const [a, b] = [this.peer, other.peer];
    return (
      a.client === b.client && a.name === b.name && a.colour === b.colour && a.movedAt === b.movedAt
    );
  }

  override toDOM(): HTMLElement {
    const caret = document.createElement("span");
    caret.className = "cm-peer-caret";
    caret.style.setProperty("--peer", this.peer.colour);
    caret.setAttribute("aria-hidden", "true");
    const name = document.createElement("span");
    name.className = "cm-peer-name";
    name.textContent = this.peer.name;
    // A word joiner gives the caret a line's height without taking room.
    caret.append("\u2060", name, "\u2060");
    return caret;
  }

  override get estimatedHeight(): number {
    return -1;
  }

  override ignoreEvent(): boolean {
    return true;
  }
}

function draw(peers: ReadonlyMap<number, Peer>, doc: Text): DecorationSet {
  const ranges = [];
  for (const peer of peers.values()) {
    const anchor = Math.min(peer.anchor, doc.length);
    const head = Math.min(peer.head, doc.length);
    if (anchor !== head) {
      const mark = Decoration.mark({
        class: "cm-peer-selection",
        attributes: { style: `--peer:${peer.colour}` },
      });
      ranges.push(mark.range(Math.min(anchor, head), Math.max(anchor, head)));
    }
    const widget = Decoration.widget({
      widget: new CaretWidget(peer),
      side: head < anchor ? -1 : 1,
    });
    ranges.push(widget.range(head));
  }
  return Decoration.set(ranges, true);
}

interface AwarenessChange {
  added: number[];
  updated: number[];
  removed: number[];
}

const colourOf = (value: unknown) =>
  typeof value === "string" && /^#[0-9a-f]{6}$/i.test(value) ? value : "#888888";

/** Reads one client's state; null when it has no caret in this text (yet). */
function readPeer(text: Y.Text, client: number, state: unknown): Peer | null {
  const { user, cursor } = (state ?? {}) as {
    user?: { name?: unknown; color?: unknown; member?: unknown };
    cursor?: { anchor?: unknown; head?: unknown } | null;
  };
  const doc = text.doc;
  if (!cursor?.anchor || !cursor.head || !doc) return null;
  try {
    const position = (json: unknown) =>
      Y.createAbsolutePositionFromRelativePosition(Y.createRelativePositionFromJSON(json), doc);
    const anchor = position(cursor.anchor);
    const head = position(cursor.head);
    if (anchor?.type !== text || head?.type !== text) return null;
    return {
      client,
      member: typeof user?.member === "string" ? user.member : null,
      name: typeof user?.name === "string" ? user.name.slice(0, 40) : "Anonymous",
      colour: colourOf(user?.color),
      anchor: anchor.index,
      head: head.index,
      movedAt: Date.now(),
    };
  } catch {
    // A peer may send anything.
    return null;
  }
}

/** The extension that shows the others' carets and tells them ours. */
export function showPeers(
  text: Y.Text,
  awareness: Awareness,
  onPeers: (view: EditorView) => void,
): Extension {
  const plugin = ViewPlugin.define((view) => {
    const stale = new Set<number>();
    /** Told about before the text they point into arrived. */
    const unresolved = new Set<number>();
    let planned = false;
    let alive = true;

    const refresh = () => {
      planned = false;
      if (!alive) return;
      const limit = view.state.doc.length;
      const peers = new Map(view.state.field(peersField));
      for (const client of stale) {
        const state: unknown = awareness.getStates().get(client);
        const peer = client === awareness.clientID ? null : readPeer(text, client, state);
        unresolved.delete(client);
        if (peer && peer.anchor <= limit && peer.head <= limit) peers.set(client, peer);
        else {
          peers.delete(client);
          if ((state as { cursor?: unknown } | undefined)?.cursor) unresolved.add(client);
        }
      }
      stale.clear();
      view.dispatch({ effects: setPeers.of(peers) });
      onPeers(view);
    };
    const plan = () => {
      if (planned) return;
      planned = true;
      // Not at once: an awareness message may come while the view is updating.
      queueMicrotask(refresh);
    };
    const onChange = ({ added, updated, removed }: AwarenessChange) => {
      for (const client of [...added, ...updated, ...removed]) {
        if (client !== awareness.clientID) stale.add(client);
      }
      if (stale.size > 0) plan();
    };
    awareness.on("change", onChange);
    onChange({ added: [...awareness.getStates().keys()], updated: [], removed: [] });

    const tell = () => {
      const { anchor, head } = view.state.selection.main;
      awareness.setLocalStateField("cursor", {
        anchor: Y.createRelativePositionFromTypeIndex(text, anchor),
        head: Y.createRelativePositionFromTypeIndex(text, head),
      });
    };

    return {
      update(update) {
        if (update.docChanged && unresolved.size > 0) {
          for (const client of unresolved) stale.add(client);
          plan();
        }
        // A caret that only moved with others' edits needs no telling: it is relative.
        const moved = update.transactions.some(
          (transaction) => transaction.selection !== undefined,
        );
        const typed = update.transactions.some(
          (transaction) => transaction.docChanged && !transaction.annotation(fromDocument),
        );
        if ((moved || typed || update.focusChanged) && view.hasFocus) tell();
      },
      destroy() {
        alive = false;
        awareness.off("change", onChange);
        if (awareness.getLocalState()) awareness.setLocalStateField("cursor", null);
      },
    };
  });
  return [peersField, plugin];
}
