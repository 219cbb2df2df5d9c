import { useEffect, useRef, useState } from "react";
import type { EditorOnScreen, OpenDocument } from "@/session/contract";
import { useLineAuthors } from "@/features/history/useLineAuthors";
import { useSettings } from "@/features/settings/settings";
import { pinTab } from "@/features/tabs/model";
import { useRepl, useWorkspace } from "@/features/workspace/useWorkspace";
import type { EditorState } from "@/features/workspace/workspace";
import { t } from "@/strings/en";
import { say } from "@/ui/Toaster";
import styles from "./Editing.module.css";

type Facts = Omit<EditorState, "editor">;

interface CodePaneProps {
  document: OpenDocument;
  focused: boolean;
}

/** The box an editor draws itself into. */
export function CodePane({ document, focused }: CodePaneProps) {
  const ws = useWorkspace();
  const box = useRef<HTMLDivElement>(null);
  const [editor, setEditor] = useState<EditorOnScreen | null>(null);
  const facts = useRef<Facts>({ cursor: null, language: null, indent: null, tabLeaves: false });
  const inFront = useRef(focused);
  const following = useRepl((snapshot) => snapshot.following);
  const fontSize = useSettings((settings) => settings.editorFontSize);
  const wrap = useSettings((settings) => settings.wrap);

  useEffect(() => {
    let alive = true;
    let made: EditorOnScreen | null = null;
    const note = (change: Partial<Facts>) => {
      facts.current = { ...facts.current, ...change };
      if (inFront.current) ws.editor.setState(change);
    };
    const { editorFontSize, wrap: wrapped } = useSettings.getState();
    void ws.parts
      .makeEditor({
        document,
        fontSize: editorFontSize,
        wrap: wrapped,
        onSave: () => say(t.editor.alwaysSaved),
        onCursor: (cursor) => note({ cursor }),
        onLanguage: (language) => note({ language }),
        onIndent: (indent) => note({ indent }),
        onTabMode: (tabLeaves) => note({ tabLeaves }),
      })
      .then((ready) => {
        if (!alive || box.current === null) {
          ready.dispose();
          return;
        }
        made = ready;
        ready.attach(box.current);
        setEditor(ready);
      });
    return () => {
      alive = false;
      made?.dispose();
      setEditor(null);
    };
  }, [ws, document]);

  useEffect(() => {
    inFront.current = focused;
    if (!focused || editor === null) return;
    ws.editor.setState({ editor, ...facts.current });
    if (ws.surface.getState().editorWanted) editor.focus();
    return () => {
      if (ws.editor.getState().editor === editor) {
        ws.editor.setState({ editor: null, cursor: null, language: null, indent: null });
      }
    };
  }, [ws, editor, focused]);

  useLineAuthors(editor, document, focused);
  useEffect(() => editor?.setFontSize(fontSize), [editor, fontSize]);
  useEffect(() => editor?.setWrap(wrap), [editor, wrap]);
  useEffect(() => editor?.followPeer(focused ? following : null), [editor, following, focused]);

  return (
    <div
      ref={box}
      className={styles.code}
      onInput={() => {
        ws.tabs.setState((tabs) => pinTab(tabs, document.file));
        // Who types goes their own way.
        if (following !== null) ws.page.follow(null);
      }}
    />
  );
}
