import type { Me } from "@/gen/api";
import { t } from "@/strings/en";
import { Gate } from "./Gate";
import { ProfileForm } from "./ProfileForm";
import styles from "./Gate.module.css";

/** Asks a guest who came by a link for a name, once. */
export function NameGate({ me }: { me: Me }) {
  return (
    <Gate title={t.profile.welcome}>
      <p className={styles.text}>{t.profile.welcomeBody}</p>
      <ProfileForm me={me} submit={t.profile.join} onDone={() => undefined} />
    </Gate>
  );
}
