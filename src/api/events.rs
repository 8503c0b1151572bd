//! A task's log: as a stream of server-sent events, and by long polling.

use std::{convert::Infallible, io::Write, time::Duration};

use actix_web::{
    HttpRequest, HttpResponse,
    http::{
        Method,
        header::{self, ContentEncoding},
    },
    web::{Bytes, Data},
};
use flate2::{Compression, write::GzEncoder};
use futures_util::{Stream, StreamExt, stream};
use tokio::time::{Instant, Interval, interval_at, timeout_at};

use super::{
    ApiState,
    audited::fail,
    caller::Caller,
    edge::accepts_gzip,
    error::{ApiError, ErrorBody},
    reply,
    request::{self, Query},
    tasks,
};
use crate::{
    audit::{Act, Pending},
    model::{EventType, TaskEvent},
    permission::known::TASK_READ,
    tasks::EventStream,
};

/// How often a quiet stream sends a comment, so that proxies keep it open and a vanished client is noticed. (Upstream
/// sends none.)
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a long poll waits for news, as upstream.
const LONG_POLL: Duration = Duration::from_secs(30);

/// The task's events as they happen: first those stored, then live.
///
/// Frames are `event: <type>` and `data: <JSON>`; a comment is sent every 15 seconds of silence. The stream ends after
/// the completion of a task, except for templates that start over.
#[utoipa::path(
    get, path = "/api/scaffolder/v2/tasks/{taskId}/eventstream", operation_id = "streamTaskEvents", tag = "tasks",
    params(("taskId" = String, Path), ("after" = Option<i64>, Query, description = "Only events with a greater id, and completions")),
    responses(
        (status = 200, content_type = "text/event-stream", body = String, description = "Frames of server-sent events"),
        (status = 403, body = ErrorBody, description = "The policy does not allow it"),
        (status = 404, body = ErrorBody, description = "No such task"),
    ),
)]
pub(super) async fn stream(state: Data<ApiState>, caller: Caller, http: HttpRequest) -> Result<HttpResponse, ApiError> {
    let id = request::segment(&http, "taskId")?;
    let query = Query::parse(&http);
    let after = match query.all("after") {
        [] => None,
        [text] => Some(javascript_number(text)),
        // JavaScript makes "not a number" of a list, and no id is greater than that.
        _ => Some(i64::MAX),
    };
    let pending = state.audit(&caller, Act::Stream, || tasks::of_task(&id));
    if let Err(error) = tasks::permitted(&state, &caller, &id, &[TASK_READ]).await {
        fail(pending, Act::Stream, &error);
        return Err(error);
    }

    let mut response = HttpResponse::Ok();
    response
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-cache"))
        // nginx would hold the events back otherwise.
        .insert_header(("X-Accel-Buffering", "no"));
    if http.method() == Method::HEAD {
        pending.succeed();
        return Ok(response.finish());
    }
    let encoder = accepts_gzip(&http).then(|| GzEncoder::new(Vec::new(), Compression::fast()));
    if encoder.is_some() {
        response.insert_header(ContentEncoding::Gzip);
    }
    Ok(response.streaming(frames(state.tasks.follow(&id, after), encoder, pending)))
}

struct Frames {
    events: EventStream,
    quiet: Interval,
    encoder: Option<GzEncoder<Vec<u8>>>,
    ended: bool,
    /// Until it is over.
    pending: Option<Pending>,
}

impl Drop for Frames {
    /// However the client ends it: a log was followed.
    fn drop(&mut self) {
        if let Some(pending) = self.pending.take() {
            pending.succeed();
        }
    }
}

/// The body of an event stream. Dropping it, as actix does when the client goes, ends the subscription.
fn frames(
    events: EventStream,
    encoder: Option<GzEncoder<Vec<u8>>>,
    pending: Pending,
) -> impl Stream<Item = Result<Bytes, Infallible>> + 'static {
    let quiet = interval_at(Instant::now() + KEEP_ALIVE, KEEP_ALIVE);
    stream::unfold(Frames { events, quiet, encoder, ended: false, pending: Some(pending) }, |mut frames| async move {
        loop {
            if frames.ended {
                let rest = frames.encoder.take()?.finish().ok()?;
                return Some((Ok(rest.into()), frames));
            }
            let text = tokio::select! {
                biased;
                batch = frames.events.next() => match batch {
                    Some(Ok(batch)) => {
                        frames.quiet.reset();
                        frames.ended = batch.iter().any(ends_stream);
                        batch.iter().map(frame).collect()
                    }
                    Some(Err(error)) => {
                        tracing::error!(%error, "an event stream ends early");
                        if let Some(pending) = frames.pending.take() {
                            pending.fail("Error", &error.to_string());
                        }
                        frames.ended = true;
                        continue;
                    }
                    None => {
                        frames.ended = true;
                        continue;
                    }
                },
                _ = frames.quiet.tick() => String::from(": keep-alive\n\n"),
            };
            if text.is_empty() {
                continue;
            }
            let bytes = match &mut frames.encoder {
                Some(encoder) => {
                    // A flushed block for each batch, so that the browser sees it now.
                    encoder.write_all(text.as_bytes()).and_then(|()| encoder.flush()).ok()?;
                    std::mem::take(encoder.get_mut()).into()
                }
                None => Bytes::from(text),
            };
            return Some((Ok(bytes), frames));
        }
    })
}

fn ends_stream(event: &TaskEvent) -> bool {
    event.kind == EventType::Completion && !event.is_task_recoverable
}

fn frame(event: &TaskEvent) -> String {
    // An event holds nothing but JSON; should writing it fail all the same, the frame is left out.
    serde_json::to_string(event)
        .map(|data| format!("event: {}\ndata: {data}\n\n", event.kind.as_str()))
        .inspect_err(|error| tracing::error!(%error, event = event.id, "an event could not be written as JSON"))
        .unwrap_or_default()
}

/// `Number(text)` for an event id: the greatest integer not above it; what is no number is above every id.
fn javascript_number(text: &str) -> i64 {
    let text = text.trim();
    if text.is_empty() {
        return 0;
    }
    let decimal = text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'+' | b'-' | b'.' | b'e' | b'E'));
    match text.parse::<f64>() {
        // Saturates at the ends.
        Ok(number) if decimal || text.ends_with("Infinity") => number.floor() as i64,
        _ => i64::MAX,
    }
}

/// The task's events so far, after waiting up to 30 seconds for the first.
#[utoipa::path(
    get, path = "/api/scaffolder/v2/tasks/{taskId}/events", operation_id = "pollTaskEvents", tag = "tasks",
    params(("taskId" = String, Path), ("after" = Option<i64>, Query, description = "Only events with a greater id, and completions")),
    responses(
        (status = 200, body = Vec<TaskEvent>, description = "Those there are; empty when none came in time"),
        (status = 403, body = ErrorBody, description = "The policy does not allow it"),
        (status = 400, body = ErrorBody, description = "`after` is no integer"),
        (status = 404, body = ErrorBody, description = "No such task"),
    ),
)]
pub(super) async fn long_poll(
    state: Data<ApiState>,
    caller: Caller,
    http: HttpRequest,
) -> Result<HttpResponse, ApiError> {
    let id = request::segment(&http, "taskId")?;
    let after = Query::documented(&http, &["after"])?.integer("after", None)?;
    Ok(reply::ok(&poll(&state, &caller, &id, after).await?))
}

/// The task's events so far, after waiting for the first; none when there is no news.
pub(super) async fn poll(
    state: &ApiState,
    caller: &Caller,
    id: &str,
    after: Option<i64>,
) -> Result<Vec<TaskEvent>, ApiError> {
    let poll = async |_: &mut Pending| {
        tasks::permitted(state, caller, id, &[TASK_READ]).await?;
        let mut events = state.tasks.subscribe(id, after);
        let deadline = Instant::now() + LONG_POLL;
        while let Ok(Some(batch)) = timeout_at(deadline, events.next()).await {
            let batch = batch?;
            if !batch.is_empty() {
                return Ok(batch);
            }
        }
        Ok(Vec::new())
    };
    state.audited(caller, Act::Events, || tasks::of_task(id), poll).await
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::io::Read;

    use chrono::{DateTime, Utc};
    use serde_json::json;

    use super::*;
    use crate::audit::Auditor;

    fn event(id: i64, kind: EventType, is_task_recoverable: bool) -> TaskEvent {
        TaskEvent {
            id,
            is_task_recoverable,
            task_id: "t".into(),
            body: json!({"message": "line\nbreak"}),
            kind,
            created_at: DateTime::<Utc>::UNIX_EPOCH,
        }
    }

    fn pending() -> Pending {
        Auditor::default().own(Act::Stream, || [])
    }

    async fn collect(batches: Vec<Vec<TaskEvent>>, encoder: Option<GzEncoder<Vec<u8>>>) -> Vec<u8> {
        let events: EventStream = Box::pin(stream::iter(batches.into_iter().map(Ok)));
        frames(events, encoder, pending()).map(|chunk| chunk.unwrap().to_vec()).collect::<Vec<_>>().await.concat()
    }

    const LOG: &str = "event: log\ndata: {\"id\":1,\"isTaskRecoverable\":false,\"taskId\":\"t\",\"body\":{\"message\":\"line\\nbreak\"},\"type\":\"log\",\"createdAt\":\"1970-01-01T00:00:00.000Z\"}\n\n";

    #[actix_web::test]
    async fn frames_are_exact() {
        let text = collect(vec![vec![event(1, EventType::Log, false)]], None).await;
        assert_eq!(String::from_utf8(text).unwrap(), LOG);
    }

    #[actix_web::test]
    async fn a_completion_ends_the_stream_unless_the_task_starts_over() {
        for (recoverable, frames) in [(false, 1), (true, 2)] {
            let batches =
                vec![vec![event(1, EventType::Completion, recoverable)], vec![event(2, EventType::Log, recoverable)]];
            let text = String::from_utf8(collect(batches, None).await).unwrap();
            assert_eq!(text.matches("event: ").count(), frames, "{text}");
        }
    }

    #[actix_web::test]
    async fn compressed_streams_are_whole() {
        let batches = vec![vec![event(1, EventType::Log, false)], vec![event(2, EventType::Completion, false)]];
        let plain = collect(batches.clone(), None).await;
        let packed = collect(batches, Some(GzEncoder::new(Vec::new(), Compression::fast()))).await;
        let mut unpacked = Vec::new();
        flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).unwrap();
        assert_eq!(unpacked, plain);
    }

    #[tokio::test(start_paused = true)]
    async fn quiet_streams_send_comments() {
        let events: EventStream = Box::pin(stream::pending());
        let mut frames = Box::pin(frames(events, None, pending()));
        let started = Instant::now();
        for _ in 0..2 {
            assert_eq!(frames.next().await.unwrap().unwrap(), ": keep-alive\n\n");
        }
        assert_eq!(started.elapsed(), KEEP_ALIVE * 2);
    }

    #[test]
    fn after_is_read_like_javascript() {
        for (text, number) in [
            ("248", 248),
            ("-1", -1),
            ("x", i64::MAX),
            ("", 0),
            ("1.5", 1),
            ("1e2", 100),
            ("nan", i64::MAX),
            ("inf", i64::MAX),
        ] {
            assert_eq!(javascript_number(text), number, "{text}");
        }
    }
}
