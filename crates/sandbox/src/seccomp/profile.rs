//! The same rules in the words of a container runtime.

use serde_json::{Value, json};

use super::{DENIED, DENIED_HERE, DENIED_IOCTLS, DENIED_SOCKETS, NAMESPACE_FLAGS};

/// The profile for this machine's processor, as Docker's `seccomp=` takes it. Other ABIs of the
/// same processor (x86's 32 bits, x32) are not named, and a runtime kills what uses them.
pub(crate) fn docker() -> String {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "SCMP_ARCH_X86_64",
        "aarch64" => "SCMP_ARCH_AARCH64",
        "riscv64" => "SCMP_ARCH_RISCV64",
        _ => "SCMP_ARCH_NATIVE",
    };
    let names: Vec<&str> =
        DENIED.iter().chain(DENIED_HERE).map(|(name, _)| name.trim_start_matches("SYS_")).collect();
    let mut rules = vec![refuse(&names, libc::EPERM, json!([]))];
    // Its flags are behind a pointer; told that it does not exist, C libraries use `clone`.
    rules.push(refuse(&["clone3"], libc::ENOSYS, json!([])));
    for flag in NAMESPACE_FLAGS {
        let bit = *flag as u32;
        let has = argument(0, bit, bit.into());
        rules.push(refuse(&["clone"], libc::EPERM, has));
    }
    for family in DENIED_SOCKETS {
        rules.push(refuse(&["socket", "socketpair"], libc::EPERM, lower_half(0, *family as u64)));
    }
    for request in DENIED_IOCTLS {
        rules.push(refuse(&["ioctl"], libc::EPERM, lower_half(1, *request)));
    }
    let architectures = [architecture];
    json!({
        "defaultAction": "SCMP_ACT_ALLOW", "architectures": architectures, "syscalls": rules
    })
    .to_string()
}

fn refuse(names: &[&str], errno: i32, arguments: Value) -> Value {
    json!({
        "names": names, "action": "SCMP_ACT_ERRNO", "errnoRet": errno, "args": arguments
    })
}

fn lower_half(index: u32, value: u64) -> Value {
    // The kernel takes the lower half of these; the upper one may hold anything.
    argument(index, u32::MAX, value)
}

fn argument(index: u32, mask: u32, value: u64) -> Value {
    json!([{ "index": index, "op": "SCMP_CMP_MASKED_EQ", "value": mask, "valueTwo": value }])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_rule_of_the_programs_is_there() {
        let profile: Value = serde_json::from_str(&docker()).unwrap();
        let rules = profile["syscalls"].as_array().unwrap();
        assert_eq!(rules[0]["names"].as_array().unwrap().len(), DENIED.len() + DENIED_HERE.len());
        assert!(rules[0]["names"].as_array().unwrap().contains(&json!("io_uring_setup")));
        let about = |name: &str| {
            let is = |rule: &&Value| rule["names"].as_array().unwrap().contains(&json!(name));
            rules.iter().filter(is).count()
        };
        assert_eq!(about("clone"), NAMESPACE_FLAGS.len());
        assert_eq!(about("socket"), DENIED_SOCKETS.len());
        assert_eq!(about("ioctl"), DENIED_IOCTLS.len());
        assert_eq!(about("clone3"), 1);
    }
}
