import { Keyboard, UserRound } from "lucide-react";
import type { ReactNode } from "react";
import { endSession } from "@/api/client";
import { SideView } from "@/features/workspace/SideView";
import { useWorkspace } from "@/features/workspace/useWorkspace";
import { t } from "@/strings/en";
import { Button } from "@/ui/Button";
import { Segmented } from "@/ui/Segmented";
import { Stepper } from "@/ui/Stepper";
import { Switch } from "@/ui/Switch";
import { FONT_SIZES, useSettings, type ThemeChoice } from "./settings";
import styles from "./Settings.module.css";

/** What a person sets for this browser. */
export function SettingsView() {
  const ws = useWorkspace();
  const settings = useSettings();
  const { change } = settings;
  return (
    <SideView title={t.settings.title}>
      <div className={styles.settings}>
        <Section title={t.settings.appearance}>
          <Segmented<ThemeChoice>
            label={t.settings.theme}
            value={settings.theme}
            options={[
              { value: "system", label: t.settings.themes.system },
              { value: "dark", label: t.settings.themes.dark },
              { value: "light", label: t.settings.themes.light },
            ]}
            onChange={(theme) => change({ theme })}
          />
        </Section>
        <Section title={t.settings.editor}>
          <Stepper
            label={t.settings.fontSize}
            value={settings.editorFontSize}
            {...FONT_SIZES}
            lessLabel={t.settings.smaller}
            moreLabel={t.settings.larger}
            onChange={(editorFontSize) => change({ editorFontSize })}
          />
          <Switch
            label={t.settings.wrap}
            checked={settings.wrap}
            onChange={(wrap) => change({ wrap })}
          />
        </Section>
        <Section title={t.settings.terminal}>
          <Stepper
            label={t.settings.fontSize}
            value={settings.terminalFontSize}
            {...FONT_SIZES}
            lessLabel={t.settings.smaller}
            moreLabel={t.settings.larger}
            onChange={(terminalFontSize) => change({ terminalFontSize })}
          />
          <Switch
            label={t.settings.screenReader}
            checked={settings.screenReader}
            onChange={(screenReader) => change({ screenReader })}
          />
        </Section>
        <Section title={t.settings.keys}>
          <Button icon={<Keyboard size={14} />} onClick={() => ws.show("keys")}>
            {t.settings.showKeys}
          </Button>
        </Section>
        <Section title={t.settings.you}>
          <Button icon={<UserRound size={14} />} onClick={() => ws.show("profile")}>
            {t.settings.changeProfile}
          </Button>
          <Button variant="ghost" onClick={() => void signOut()}>
            {t.settings.signOut}
          </Button>
        </Section>
        <Section title={t.settings.network}>
          <p className={styles.note}>{t.settings.networkBody}</p>
        </Section>
      </div>
    </SideView>
  );
}

async function signOut() {
  await endSession().catch(() => undefined);
  window.location.assign("/");
}

function Section({ title, children }: { title: string; children: ReactNode }) {
  return (
    <section className={styles.section} aria-label={title}>
      <h3 className={styles.title}>{title}</h3>
      {children}
    </section>
  );
}
