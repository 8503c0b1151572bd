//! Templates named on the command line: a file, a directory with a `template.yaml`, or a URL.

use std::{fs, io::Read};

use camino::{Utf8Path, Utf8PathBuf};
use understudy_scm::Scm;

use super::Failure;
use crate::yaml::MAX_BYTES;

/// Names of the template file in a directory, in this order.
const FILE_NAMES: [&str; 2] = ["template.yaml", "template.yml"];

/// A template's text and where it comes from.
#[derive(Debug)]
pub(super) struct Source {
    /// As the user wrote it, completed by the file's name for a directory; starts diagnostics.
    pub(super) shown: String,
    /// The text.
    pub(super) text: String,
    /// The place relative URLs start from.
    pub(super) origin: Origin,
}

/// Where a template lives.
#[derive(Debug)]
pub(super) enum Origin {
    /// A file, by its absolute path.
    File(Utf8PathBuf),
    /// A URL of an integration.
    Url(String),
}

/// Reads a template.
///
/// # Errors
/// It can't be read, is too large or no UTF-8.
pub(super) async fn read(scm: &Scm, argument: &str) -> Result<Source, Failure> {
    if argument.starts_with("https://") || argument.starts_with("http://") {
        let bytes = scm
            .read_file(argument, None)
            .await
            .map_err(|error| Failure::Input(format!("{argument}: {}", error.message())))?;
        let text = checked(argument, bytes)?;
        return Ok(Source { shown: argument.into(), text, origin: Origin::Url(argument.into()) });
    }
    let path = file_of(Utf8Path::new(argument))?;
    let fail = |error: std::io::Error| Failure::Input(format!("{path}: {error}"));
    let file = fs::File::open(&path).map_err(fail)?;
    let size = file.metadata().map_err(fail)?.len();
    if size > MAX_BYTES as u64 {
        return Err(too_large(path.as_str(), size));
    }
    let mut bytes = Vec::new();
    // One byte more than allowed shows a file that grows or has no size, such as a pipe.
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes).map_err(fail)?;
    let absolute = path.canonicalize_utf8().map_err(fail)?;
    Ok(Source { text: checked(path.as_str(), bytes)?, shown: path.into_string(), origin: Origin::File(absolute) })
}

fn file_of(path: &Utf8Path) -> Result<Utf8PathBuf, Failure> {
    if !path.is_dir() {
        return Ok(path.to_path_buf());
    }
    FILE_NAMES
        .iter()
        .map(|name| path.join(name))
        .find(|file| file.is_file())
        .ok_or_else(|| Failure::Input(format!("{path}: the directory has no {}", FILE_NAMES.join(" or "))))
}

fn checked(shown: &str, bytes: Vec<u8>) -> Result<String, Failure> {
    if bytes.len() > MAX_BYTES {
        return Err(too_large(shown, bytes.len() as u64));
    }
    String::from_utf8(bytes).map_err(|error| {
        Failure::Input(format!(
            "{shown}: not UTF-8: the byte at offset {} is invalid",
            error.utf8_error().valid_up_to()
        ))
    })
}

fn too_large(shown: &str, size: u64) -> Failure {
    const MIB: u64 = 1024 * 1024;
    Failure::Input(format!(
        "{shown}: {} MiB is too large for a template, at most {} MiB are read; move large content into files that a step fetches",
        size.div_ceil(MIB),
        MAX_BYTES as u64 / MIB
    ))
}
