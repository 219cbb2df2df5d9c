import { t } from "@/strings/en";
import { Button } from "@/ui/Button";
import { Spinner } from "@/ui/Spinner";
import { Gate } from "./Gate";
import { PasteLink } from "./PasteLink";
import styles from "./Gate.module.css";

/** The link of the address is being exchanged. */
export function Entering() {
  return (
    <main className={styles.gate}>
      <p className={styles.busy} role="status">
        <Spinner /> {t.gate.entering}
      </p>
    </main>
  );
}

/** Nobody is signed in here. */
export function NoSession() {
  return (
    <Gate title={t.gate.noSessionTitle}>
      <p className={styles.text}>{t.gate.noSession}</p>
      <code className={styles.sample}>
        {window.location.origin}/<b>#token=…</b>
      </code>
      <PasteLink />
      <p className={styles.hint}>{t.gate.noSessionHint}</p>
    </Gate>
  );
}

/** The token was refused. */
export function BadLink() {
  return (
    <Gate title={t.gate.badLinkTitle}>
      <p className={styles.text}>{t.gate.badLink}</p>
      <PasteLink />
    </Gate>
  );
}

/** No answer; tried again in the background. */
export function ServerAway({ retry }: { retry: () => void }) {
  return (
    <Gate title={t.gate.serverAwayTitle}>
      <p className={styles.text}>{t.gate.serverAway}</p>
      <div className={styles.actions}>
        <Button variant="primary" onClick={retry}>
          {t.retry}
        </Button>
      </div>
    </Gate>
  );
}

/** An address that leads nowhere, or nowhere for this person. */
export function NowhereGate({ title, body }: { title: string; body: string }) {
  return (
    <Gate title={title}>
      <p className={styles.text}>{body}</p>
      <div className={styles.actions}>
        <Button variant="primary" onClick={() => window.location.assign("/")}>
          {t.gate.toHome}
        </Button>
      </div>
    </Gate>
  );
}

/** The page must be loaded again. */
export function ReloadGate({ title, body }: { title: string; body: string }) {
  return (
    <Gate title={title}>
      <p className={styles.text}>{body}</p>
      <div className={styles.actions}>
        <Button variant="primary" onClick={() => window.location.reload()}>
          {t.reload}
        </Button>
      </div>
    </Gate>
  );
}
