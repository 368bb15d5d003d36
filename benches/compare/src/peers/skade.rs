//! skade-katalog, in a process of its own, since it brings several hundred crates: it is compiled when it is asked for, and told what to do turn by turn.

use std::io::{BufRead as _, BufReader, Lines, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub use protocol::{Answer, FieldKind, Request, Table};

use crate::Result;

#[path = "../../skade/src/protocol.rs"]
mod protocol;

/// The packages that its build locked.
pub const LOCKED: &str = include_str!("../../skade/Cargo.lock");

const MANIFEST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/skade/Cargo.toml");

/// The process.
pub struct Skade {
    child: Child,
    requests: Option<ChildStdin>,
    answers: Lines<BufReader<ChildStdout>>,
}

impl Skade {
    /// Compiles it where it is not, and starts it with a catalog in `folder`.
    pub fn start(folder: &Path) -> Result<Self> {
        let cargo = || {
            let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
            // Where the comparison was told to keep its target, this one is not mixed in.
            cargo.env_remove("CARGO_TARGET_DIR");
            cargo
        };
        // Apart from running, so that its messages are seen and its time is in no turn.
        let built = cargo()
            .args(["build", "--release", "--locked", "--manifest-path", MANIFEST])
            .stdout(Stdio::null())
            .status()?;
        if !built.success() {
            return Err("skade-katalog does not compile".into());
        }
        let mut child = cargo()
            .args([
                "run",
                "--quiet",
                "--release",
                "--locked",
                "--manifest-path",
                MANIFEST,
                "--",
            ])
            .arg(folder)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()?;
        let requests = child.stdin.take();
        let answers = child.stdout.take().ok_or("the child has no output")?;
        Ok(Self {
            child,
            requests,
            answers: BufReader::new(answers).lines(),
        })
    }

    /// Does one thing.
    pub fn ask(&mut self, request: &Request) -> Result<Answer> {
        let requests = self.requests.as_mut().ok_or("the child has no input")?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        requests.write_all(&line)?;
        let answer = self.answers.next().ok_or("skade-katalog ended by itself")??;
        Ok(serde_json::from_str(&answer)?)
    }
}

impl Drop for Skade {
    fn drop(&mut self) {
        // It ends with its input.
        self.requests = None;
        let _ = self.child.wait();
    }
}
