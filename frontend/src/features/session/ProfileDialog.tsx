import type { Me } from "@/gen/api";
import { t } from "@/strings/en";
import { Dialog } from "@/ui/Dialog";
import { ProfileForm } from "./ProfileForm";

interface ProfileDialogProps {
  me: Me;
  open: boolean;
  onClose: () => void;
  onChanged?: (me: Me) => void;
}

/** Changes name and colour later. */
export function ProfileDialog({ me, open, onClose, onChanged }: ProfileDialogProps) {
  return (
    <Dialog
      open={open}
      onClose={onClose}
      title={t.profile.title}
      description={t.profile.welcomeBody}
      closeLabel={t.close}
      width="narrow"
    >
      <ProfileForm
        me={me}
        submit={t.save}
        onDone={(changed) => {
          onChanged?.(changed);
          onClose();
        }}
      />
    </Dialog>
  );
}
