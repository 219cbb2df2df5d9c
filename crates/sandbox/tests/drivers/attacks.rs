//! What hostile code tries, and what comes of it.

use crate::bench::{Bench, Case, Mode, python};
use crate::cases::case;

const BUBBLEWRAP: &[Mode] = &[Mode::Launcher, Mode::User];

pub const CASES: &[Case] = &[case!(the_hosts_kernel_settings_cannot_be_written, BUBBLEWRAP)];

async fn the_hosts_kernel_settings_cannot_be_written(bench: &Bench) -> anyhow::Result<()> {
    let sandbox = bench.launch().await?;
    let program = r#"
for path in ["kernel/core_pattern", "vm/swappiness", "kernel/hostname", "../sysrq-trigger"]:
    try:
        open("/proc/sys/" + path, "w").write("1")
        print("WRITTEN", path)
    except OSError as error:
        print("refused", error.errno)
"#;
    let output = python(&sandbox, program).await?;
    assert_eq!(output.text.matches("refused").count(), 4, "{output:?}");
    bench.stop(&sandbox).await
}
