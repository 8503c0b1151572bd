//! An S3-compatible server, `s3s-fs`: it checks the signature of every request, and keeps objects in files.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use tokio::{
    net::TcpStream,
    time::{Instant, sleep},
};

use crate::{Error, Result, process::free_port, programs, supervisor::Supervisor};

const READY_WITHIN: Duration = Duration::from_secs(60);
/// Runs the server for as long as standard input is open, so that it ends with the test however that ends. Arguments: a
/// directory, which is removed at the end, and the command. Reads `stop` and `start`.
const SUPERVISE: &str = r#"
dir=$1
shift
server=("$@")
start() {
  "${server[@]}" </dev/null >>"$dir/log" 2>&1 &
  pid=$!
}
end() {
  kill -9 $pid 2>/dev/null
  wait $pid 2>/dev/null
  pid=
}
start
line=
while IFS= read -r -t 1 line || [ $? -gt 128 ]; do
  case $line in
    stop) end; echo stopped ;;
    start) start; echo started ;;
  esac
  line=
  if [ -n "$pid" ] && ! kill -0 $pid 2>/dev/null; then
    echo "ended s3s-fs"
    pid=
  fi
done
end
rm -rf "$dir"
"#;

/// A running server with one bucket. It ends, and its files go, when this is dropped or the process ends.
#[derive(Debug)]
pub struct ObjectStore {
    supervisor: Arc<Supervisor>,
    dir: PathBuf,
    port: u16,
    secret: String,
}

impl ObjectStore {
    /// The bucket.
    pub const BUCKET: &'static str = "workspaces";
    /// The key's id.
    pub const ACCESS_KEY: &'static str = "understudy-tests";

    /// Starts a server. The first call on a machine builds it, which takes minutes.
    ///
    /// # Errors
    /// It can't be built, or does not get ready.
    pub async fn start() -> Result<Self> {
        let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("object-store");
        let program = programs::made_by(&script).await?.join("s3s-fs");
        let dir = tempfile::Builder::new()
            .prefix("understudy-objects-")
            .tempdir()
            .map_err(Error::io("creating a temporary directory"))?
            .keep();
        fs::create_dir_all(dir.join("data").join(Self::BUCKET)).map_err(Error::io("creating a bucket"))?;
        let (port, secret) = (free_port()?, uuid::Uuid::new_v4().simple().to_string());
        let text = |path: PathBuf| path.display().to_string();
        let mut command = vec![text(dir.clone()), text(program)];
        for (option, value) in [
            ("--host", "127.0.0.1"),
            ("--port", &port.to_string()),
            ("--access-key", Self::ACCESS_KEY),
            ("--secret-key", &secret),
        ] {
            command.extend([option.to_string(), value.to_string()]);
        }
        command.push(text(dir.join("data")));
        let supervisor = Arc::new(Supervisor::start(SUPERVISE, &command, None)?);
        let store = Self { supervisor, dir, port, secret };
        store.wait_until_ready().await?;
        Ok(store)
    }

    async fn wait_until_ready(&self) -> Result<()> {
        let deadline = Instant::now() + READY_WITHIN;
        while TcpStream::connect(("127.0.0.1", self.port)).await.is_err() {
            let log = || fs::read_to_string(self.dir.join("log")).unwrap_or_default();
            if self.supervisor.ended().is_some() {
                return Err(Error::unexpected("s3s-fs ended before it was ready", log()));
            }
            if Instant::now() >= deadline {
                let what = "the readiness of s3s-fs".to_string();
                return Err(Error::Timeout { what, limit: READY_WITHIN, detail: log() });
            }
            sleep(Duration::from_millis(20)).await;
        }
        Ok(())
    }

    /// `http://127.0.0.1:<port>`
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The key.
    #[must_use]
    pub fn secret(&self) -> &str {
        &self.secret
    }

    /// The objects' keys and sizes, sorted.
    ///
    /// # Errors
    /// As the file system says.
    pub fn objects(&self) -> Result<Vec<(String, u64)>> {
        let root = self.dir.join("data").join(Self::BUCKET);
        let (mut found, mut pending) = (Vec::new(), vec![root.clone()]);
        while let Some(dir) = pending.pop() {
            for entry in fs::read_dir(&dir).map_err(Error::io("reading a bucket"))? {
                let entry = entry.map_err(Error::io("reading a bucket"))?;
                let path = entry.path();
                if path.is_dir() {
                    pending.push(path);
                } else {
                    let size = entry.metadata().map_err(Error::io("reading a bucket"))?.len();
                    found.push((path.strip_prefix(&root).unwrap_or(&path).display().to_string(), size));
                }
            }
        }
        found.sort();
        Ok(found)
    }

    /// Ends the server; its objects stay.
    ///
    /// # Errors
    /// The supervisor is gone.
    pub async fn stop(&self) -> Result<()> {
        self.supervisor.command("stop", "stopped").await
    }

    /// Starts it again, on the same port.
    ///
    /// # Errors
    /// It does not get ready.
    pub async fn start_again(&self) -> Result<()> {
        self.supervisor.command("start", "started").await?;
        self.wait_until_ready().await
    }
}
