//! What a repl says about itself: `tandem.toml`, or `.replit` when there is none.

use std::collections::BTreeMap;

use serde::Deserialize;
use tandem_proto::api::TaskInfo;

/// Name of the project file.
pub const FILE: &str = "tandem.toml";
/// Read when [`FILE`] does not exist.
pub const REPLIT_FILE: &str = ".replit";
/// The task that Run starts.
pub const DEFAULT_TASK: &str = "run";

/// Generated or cached everywhere: not watched inside, not saved with every change.
const IGNORED: &[&str] = &[
    "node_modules",
    "target",
    "__pycache__",
    ".venv",
    "venv",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".cache",
    ".gradle",
    ".next",
    ".vite",
    ".parcel-cache",
    ".turbo",
];

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Raw {
    run: Option<String>,
    tasks: BTreeMap<String, RawTask>,
    web: RawWeb,
    files: RawFiles,
    save: RawSave,
    entrypoint: Option<String>,
}

#[derive(Debug, Deserialize)]
struct RawTask {
    command: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawWeb {
    port: Option<u16>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawFiles {
    ignore: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct RawSave {
    skip: Option<Vec<String>>,
}

/// Made again by whoever needs it: saved only when `[save] skip` says otherwise.
const SKIPPED: &[&str] = &[
    "target",
    "__pycache__",
    ".cache",
    ".pytest_cache",
    ".mypy_cache",
    ".ruff_cache",
    ".gradle",
    ".next",
    ".vite",
    ".parcel-cache",
    ".turbo",
];

/// A repl's settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Project {
    /// Tasks by name, the default first.
    pub tasks: Vec<TaskInfo>,
    /// Port of the web program.
    pub web_port: Option<u16>,
    /// Names that are ignored at any depth.
    pub ignore: Vec<String>,
    /// Paths that are never saved.
    pub skip: Vec<String>,
    /// What is wrong with the file, for people.
    pub error: Option<String>,
}

impl Default for Project {
    fn default() -> Self {
        Self {
            tasks: Vec::new(),
            web_port: None,
            ignore: IGNORED.iter().map(|name| (*name).to_owned()).collect(),
            skip: SKIPPED.iter().map(|name| (*name).to_owned()).collect(),
            error: None,
        }
    }
}

impl Project {
    /// Reads the text of `tandem.toml` or `.replit`. A file that cannot be read gives the
    /// defaults and an [`Project::error`].
    pub fn parse(file: &str, text: &str) -> Self {
        let mut project = Self::default();
        let raw: Raw = match toml::from_str(text) {
            Ok(raw) => raw,
            Err(error) => {
                project.error = Some(format!("{file} is not valid: {}", error.message()));
                return project;
            }
        };
        let run = raw.run.or_else(|| {
            raw.entrypoint.as_deref().and_then(command_for).filter(|_| file == REPLIT_FILE)
        });
        if let Some(command) = run {
            project.tasks.push(TaskInfo { name: DEFAULT_TASK.to_owned(), command });
        }
        for (name, task) in raw.tasks {
            if !project.tasks.iter().any(|known| known.name == name) {
                project.tasks.push(TaskInfo { name, command: task.command });
            }
        }
        if let Some(at) = project.tasks.iter().position(|task| task.name == DEFAULT_TASK) {
            let default = project.tasks.remove(at);
            project.tasks.insert(0, default);
        }
        project.tasks.truncate(100);
        project.web_port = raw.web.port;
        project
            .ignore
            .extend(raw.files.ignore.into_iter().filter(|name| !name.contains('/')).take(100));
        if let Some(skip) = raw.save.skip {
            let rules = skip.iter().map(|rule| rule.trim_end_matches('/').to_owned());
            project.skip = rules.filter(|rule| !rule.is_empty()).take(100).collect();
        }
        project
    }

    /// Whether a path is never saved.
    pub fn skips(&self, path: &tandem_proto::RelPath) -> bool {
        path.is_named_by(&self.skip)
    }

    /// The command of a task.
    pub fn command(&self, task: &str) -> Option<&str> {
        self.tasks.iter().find(|known| known.name == task).map(|task| task.command.as_str())
    }
}

/// The command that runs a single file by its ending, for `.replit` files that only name one.
fn command_for(entrypoint: &str) -> Option<String> {
    let quoted = format!("'{}'", entrypoint.replace('\'', "'\\''"));
    let (_, ending) = entrypoint.rsplit_once('.')?;
    let program = match ending {
        "py" => "python3",
        "js" | "mjs" => "node",
        "sh" => "bash",
        "go" => "go run",
        _ => return None,
    };
    Some(format!("{program} {quoted}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_tasks_and_settings() {
        let text = "run = \"python3 main.py\"\n[tasks.test]\ncommand = \"pytest\"\n[web]\nport = 3000\n[files]\nignore = [\"out\"]\n";
        let project = Project::parse(FILE, text);
        assert_eq!(project.command("run"), Some("python3 main.py"));
        assert_eq!(project.command("test"), Some("pytest"));
        assert_eq!(project.tasks[0].name, "run");
        assert_eq!(project.web_port, Some(3000));
        assert!(project.ignore.iter().any(|name| name == "out"));
        assert!(!project.ignore.iter().any(|name| name == ".git"));
        assert_eq!(project.error, None);
    }

    #[test]
    fn what_is_skipped_is_named_at_any_depth_or_from_the_top() {
        let path = |text: &str| tandem_proto::RelPath::parse(text).unwrap();
        let default = Project::default();
        assert!(default.skips(&path("a/target/debug/x")) && default.skips(&path("__pycache__")));
        assert!(!default.skips(&path("node_modules/a")) && !default.skips(&path(".git/HEAD")));
        let project = Project::parse(FILE, "[save]\nskip = [\"data/raw/\", \"*.tmp\", \"logs/\"]");
        assert!(project.skips(&path("data/raw")) && project.skips(&path("data/raw/a")));
        assert!(!project.skips(&path("data/rawer")) && !project.skips(&path("x/data/raw")));
        assert!(project.skips(&path("x/logs/y")) && !project.skips(&path("target/x")));
        let nothing = Project::parse(FILE, "[save]\nskip = []");
        assert!(!nothing.skips(&path("target/x")));
    }

    #[test]
    fn a_task_named_run_is_the_default() {
        let project =
            Project::parse(FILE, "[tasks.a]\ncommand = \"x\"\n[tasks.run]\ncommand = \"y\"");
        assert_eq!(project.tasks[0].command, "y");
    }

    #[test]
    fn replit_files_work() {
        let project = Project::parse(REPLIT_FILE, "run = \"npm start\"\nentrypoint = \"index.js\"");
        assert_eq!(project.command("run"), Some("npm start"));
        let project = Project::parse(REPLIT_FILE, "entrypoint = \"it's.py\"");
        assert_eq!(project.command("run"), Some("python3 'it'\\''s.py'"));
    }

    #[test]
    fn a_broken_file_says_so() {
        let project = Project::parse(FILE, "run = ");
        assert!(project.error.unwrap().contains("tandem.toml"));
        assert!(project.tasks.is_empty());
    }
}
