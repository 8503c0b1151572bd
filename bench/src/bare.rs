//! The least that an HTTP server of our kind can do: a handler that answers with bytes it has.

use std::{
    net::{Ipv4Addr, TcpListener},
    thread::JoinHandle,
};

use actix_web::{App, HttpResponse, HttpServer, dev::ServerHandle, web};
use bytes::Bytes;

use crate::error::{Error, Result};

/// A running server. It ends when dropped.
pub(crate) struct Bare {
    port: u16,
    handle: ServerHandle,
    thread: Option<JoinHandle<()>>,
}

impl Bare {
    /// Answers every request with these bytes.
    pub(crate) fn start(body: Bytes) -> Result<Self> {
        let what = "listening on 127.0.0.1";
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(Error::io(what))?;
        let port = listener.local_addr().map_err(Error::io(what))?.port();
        let (started, starts) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            actix_web::rt::System::new().block_on(async move {
                let body = web::Data::new(body);
                let answer = async |body: web::Data<Bytes>| {
                    HttpResponse::Ok().content_type("application/json").body(Bytes::clone(&body))
                };
                let server =
                    HttpServer::new(move || App::new().app_data(body.clone()).default_service(web::to(answer)))
                        .disable_signals()
                        .shutdown_timeout(1)
                        .listen(listener);
                match server {
                    Ok(server) => {
                        let running = server.run();
                        let _ = started.send(Ok(running.handle()));
                        let _ = running.await;
                    }
                    Err(error) => drop(started.send(Err(error))),
                }
            });
        });
        let gone = || Error::Failed("the bare handler ended at once".to_owned());
        let handle = starts.recv().map_err(|_| gone())?.map_err(Error::io("starting the bare handler"))?;
        Ok(Self { port, handle, thread: Some(thread) })
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }
}

impl Drop for Bare {
    fn drop(&mut self) {
        drop(self.handle.stop(false));
        if let Some(thread) = self.thread.take() {
            // A panic has been reported by its thread already.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::time::Duration;

    use super::*;

    #[tokio::test(flavor = "multi_thread")]
    async fn it_answers_under_load() {
        let bare = Bare::start(Bytes::from_static(b"[1,2]")).unwrap();
        let load = crate::load::run(bare.port(), "/x", None, 4, Duration::from_millis(200)).await.unwrap();
        assert!(load.per_second > 1.0 && !load.milliseconds.is_empty(), "{load:?}");
    }
}
