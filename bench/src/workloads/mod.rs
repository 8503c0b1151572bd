//! What is measured.

mod actions;
mod dry_run;
mod fetch;
mod latency;
mod listing;
mod publish;
mod start;
mod steps;
mod streams;
mod throughput;

use crate::{
    bench::{Bench, Recorder},
    error::Result,
    results::UPSTREAM,
    server::Store,
};

/// Whether more or less is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Better {
    Less,
    More,
}

/// A figure of a workload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figure {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) better: Better,
    /// What its sizes count.
    pub(crate) size: &'static str,
    /// Whether it grows with the size by nature, so that its share for each unit is what is to stay the same.
    pub(crate) by_unit: bool,
}

/// What was set out for.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Aim {
    pub(crate) text: &'static str,
    pub(crate) metric: &'static str,
    pub(crate) size: u64,
    pub(crate) target: Target,
}

/// How an aim is judged.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Target {
    /// So many times better than a series at a size.
    Times(f64, &'static str, u64),
    /// At most this figure.
    AtMost(f64),
}

impl Aim {
    const fn times(text: &'static str, metric: &'static str, size: u64, times: f64) -> Self {
        Self { text, metric, size, target: Target::Times(times, UPSTREAM, size) }
    }
}

/// A workload.
pub(crate) struct Workload {
    pub(crate) id: &'static str,
    pub(crate) title: &'static str,
    /// What is done and how it is measured.
    pub(crate) about: &'static str,
    /// About how many minutes it takes with three rounds on two idle cores.
    pub(crate) minutes: f64,
    pub(crate) figures: &'static [Figure],
    pub(crate) aims: &'static [Aim],
    pub(crate) kind: Kind,
}

/// Which code runs it.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Kind {
    ColdStart,
    Idle,
    Latency { store: Store, guarded: bool },
    Throughput { store: Store, guarded: bool },
    Replicas,
    Fetch,
    Publish,
    Listing(Store),
    Actions { guarded: bool },
    Delays,
    Burst,
    Transitions,
    Waiting,
    Memory,
    DryRun,
}

impl Workload {
    /// Runs it.
    pub(crate) async fn run(&self, bench: &Bench, rec: &mut Recorder) -> Result<()> {
        match self.kind {
            Kind::ColdStart => start::cold(bench, rec).await,
            Kind::Idle => start::idle(bench, rec).await,
            Kind::Latency { store, guarded } => latency::run(bench, rec, store, guarded).await,
            Kind::Throughput { store, guarded } => throughput::run(bench, rec, store, guarded).await,
            Kind::Replicas => throughput::replicas(bench, rec).await,
            Kind::Fetch => fetch::run(bench, rec).await,
            Kind::Publish => publish::run(bench, rec).await,
            Kind::Listing(store) => listing::run(bench, rec, store).await,
            Kind::Actions { guarded } => actions::run(bench, rec, guarded).await,
            Kind::Delays => streams::delays(bench, rec).await,
            Kind::Burst => streams::burst(bench, rec).await,
            Kind::Transitions => steps::transitions(bench, rec).await,
            Kind::Waiting => steps::waiting(bench, rec).await,
            Kind::Memory => steps::memory(bench, rec).await,
            Kind::DryRun => dry_run::run(bench, rec).await,
        }
    }

    pub(crate) fn figure(&self, id: &str) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.id == id)
    }
}

const fn less(id: &'static str, title: &'static str, unit: &'static str, size: &'static str) -> Figure {
    Figure { id, title, unit, better: Better::Less, size, by_unit: false }
}

const fn less_by_unit(id: &'static str, title: &'static str, unit: &'static str, size: &'static str) -> Figure {
    Figure { by_unit: true, ..less(id, title, unit, size) }
}

const fn more(id: &'static str, title: &'static str, unit: &'static str, size: &'static str) -> Figure {
    Figure { better: Better::More, ..less(id, title, unit, size) }
}

const LATENCY: &[Figure] = &[
    less("event-p50", "POST to the completion on the event stream, p50", "ms", "tasks"),
    less("event-p95", "the same, p95", "ms", "tasks"),
    less("event-max", "the same, slowest", "ms", "tasks"),
    less("status-p50", "POST to the status `completed`, p50", "ms", "tasks"),
    less("status-p95", "the same, p95", "ms", "tasks"),
    less("status-max", "the same, slowest", "ms", "tasks"),
    less("post-p50", "the answer to POST, p50", "ms", "tasks"),
    less("store-round-trip", "one round trip to the store, p50", "ms", "tasks"),
];

const ABOUT_LATENCY: &str = "One trivial task (two steps, each logs a line) after the other on an idle server, after 20 to warm \
    up: first with a subscriber who connects as soon as the id is known, then by asking for the status after each tenth of the time \
    so far (each millisecond at most). The limit is a `SELECT 1` through the same kind of connection.";

const ABOUT_THROUGHPUT: &str = "So many trivial tasks sent over 16 connections; the clock stops when the list says that all of \
    them are completed (asked each 50 ms). 10 tasks at once on both sides, after 50 to warm up. One process, sizes ascending.";

const LISTING: &[Figure] = &[
    more("per-second", "GET /v2/tasks?limit=20, 32 connections", "requests/s", "tasks stored"),
    less("p50", "the same, p50", "ms", "tasks stored"),
    less("p99", "the same, p99", "ms", "tasks stored"),
];

const ABOUT_LISTING: &str = "The table is filled by SQL with tasks that are all alike, the same on both sides. 2 s to warm up, then 4 s \
    of requests over 32 connections, each sent as soon as the one before is answered.";

const ABOUT_ACTIONS: &str = "2 s to warm up, then 4 s of requests over so many connections, each sent as soon as the one before is \
    answered. The limit is a bare actix-web handler that answers with the same bytes.";

/// All workloads, in the order of the document.
pub(crate) const ALL: &[Workload] = &[
    Workload {
        id: "cold-start",
        title: "Cold start",
        about: "From the start of the process to the first answer to `GET /v2/actions`, asked each millisecond; SQLite files that the \
            start before has made, templates in the catalog.",
        minutes: 3.0,
        figures: &[less("first-answer", "start to the first answer", "ms", "templates")],
        aims: &[Aim::times("cold start to the first answer: 100 times faster", "first-answer", 1, 100.0)],
        kind: Kind::ColdStart,
    },
    Workload {
        id: "idle",
        title: "Idle memory",
        about: "The proportional set size of the process 15 seconds after its start, with nothing asked but that it is ready.",
        minutes: 4.0,
        figures: &[
            less("pss", "proportional set size", "MiB", "templates"),
            less("cpu", "processor time in the last 5 of these seconds", "ms", "templates"),
        ],
        aims: &[Aim::times("idle memory (PSS): a tenth", "pss", 1, 10.0)],
        kind: Kind::Idle,
    },
    Workload {
        id: "latency-sqlite",
        title: "One task on an idle server, SQLite",
        about: ABOUT_LATENCY,
        minutes: 2.0,
        figures: LATENCY,
        aims: &[
            Aim::times("POST to completion seen by a subscriber, p50: 200 times faster", "event-p50", 1, 200.0),
            Aim::times("POST to status `completed`, p50: 20 times faster", "status-p50", 1, 20.0),
        ],
        kind: Kind::Latency { store: Store::File, guarded: false },
    },
    Workload {
        id: "latency-postgres",
        title: "One task on an idle server, PostgreSQL",
        about: ABOUT_LATENCY,
        minutes: 2.0,
        figures: LATENCY,
        aims: &[
            Aim::times("POST to completion seen by a subscriber, PostgreSQL: 200 times faster", "event-p50", 1, 200.0),
            Aim::times("POST to status `completed`, PostgreSQL: 20 times faster", "status-p50", 1, 20.0),
        ],
        kind: Kind::Latency { store: Store::Postgres, guarded: false },
    },
    Workload {
        id: "throughput-memory",
        title: "Queue throughput, A: nobody needs credentials, SQLite in memory",
        about: ABOUT_THROUGHPUT,
        minutes: 2.5,
        figures: &[more("tasks-per-second", "trivial tasks completed", "tasks/s", "tasks")],
        aims: &[Aim::times(
            "queue throughput, upstream's cheapest configuration: 10 times",
            "tasks-per-second",
            2000,
            10.0,
        )],
        kind: Kind::Throughput { store: Store::Memory, guarded: false },
    },
    Workload {
        id: "throughput-sqlite",
        title: "Queue throughput, A on a SQLite file",
        about: ABOUT_THROUGHPUT,
        minutes: 3.0,
        figures: &[more("tasks-per-second", "trivial tasks completed", "tasks/s", "tasks")],
        aims: &[Aim::times("queue throughput, the same on a file: 10 times", "tasks-per-second", 2000, 10.0)],
        kind: Kind::Throughput { store: Store::File, guarded: false },
    },
    Workload {
        id: "throughput-guarded",
        title: "Queue throughput, B: token, permissions, action sources, SQLite file",
        about: ABOUT_THROUGHPUT,
        minutes: 4.0,
        figures: &[more("tasks-per-second", "trivial tasks completed", "tasks/s", "tasks")],
        aims: &[Aim::times(
            "queue throughput, upstream's default configuration: 50 times",
            "tasks-per-second",
            400,
            50.0,
        )],
        kind: Kind::Throughput { store: Store::File, guarded: true },
    },
    Workload {
        id: "throughput-postgres",
        title: "Queue throughput, PostgreSQL",
        about: ABOUT_THROUGHPUT,
        minutes: 3.0,
        figures: &[more("tasks-per-second", "trivial tasks completed", "tasks/s", "tasks")],
        aims: &[],
        kind: Kind::Throughput { store: Store::Postgres, guarded: false },
    },
    Workload {
        id: "throughput-replicas",
        title: "Queue throughput, PostgreSQL, several processes of ours",
        about: "1,000 trivial tasks as above, sent to the processes in turn; upstream is one process. Everything shares the machine's \
            processors: PostgreSQL, all processes and the clients.",
        minutes: 2.5,
        figures: &[more("tasks-per-second", "trivial tasks completed", "tasks/s", "processes of ours")],
        aims: &[Aim {
            text: "queue throughput on PostgreSQL, three replicas: 50 times one upstream process",
            metric: "tasks-per-second",
            size: 3,
            target: Target::Times(50.0, UPSTREAM, 1),
        }],
        kind: Kind::Replicas,
    },
    Workload {
        id: "fetch-template",
        title: "`fetch:template`",
        about: "POST to the status `completed` of a task with this one step: files of 2 KiB with five expressions each in 20 to a \
            folder, SQLite file; and 1,000 files as they stand in services' templates (conditions, loops, filters). After two runs of \
            100 files to warm up. The limit is a copy of the same files by as many threads as there are processors.",
        minutes: 6.0,
        figures: &[
            less_by_unit("time", "files of 2 KiB", "ms", "files"),
            less_by_unit("real", "files as in services' templates", "ms", "files"),
        ],
        aims: &[
            Aim::times("`fetch:template`, 1,000 files: 40 times faster", "time", 1000, 40.0),
            Aim::times("`fetch:template`, 10,000 files: 40 times faster", "time", 10_000, 40.0),
            Aim {
                text: "`fetch:template`, 1,000 files: within 2 times of a parallel copy",
                metric: "time",
                size: 1000,
                target: Target::Times(0.5, fetch::COPY, 1000),
            },
            Aim {
                text: "`fetch:template`, 10,000 files: within 2 times of a parallel copy",
                metric: "time",
                size: 10_000,
                target: Target::Times(0.5, fetch::COPY, 10_000),
            },
        ],
        kind: Kind::Fetch,
    },
    Workload {
        id: "publish-github",
        title: "`publish:github`",
        about: "From the event `Beginning step Publish` to the end of the task, events asked for each 10 ms: a repository is created and \
            the files (2 KiB each) are pushed over HTTPS on loopback to `git http-backend`. The limit is `git init`, `add`, `commit` and \
            `push` of the same files to the same server.",
        minutes: 5.0,
        figures: &[less_by_unit("time", "publishing", "ms", "files")],
        aims: &[
            Aim::times("`publish:github`, 1,000 files: 10 times faster", "time", 1000, 10.0),
            Aim::times("`publish:github`, 20,000 files: 10 times faster", "time", 20_000, 10.0),
            Aim {
                text: "`publish:github`, 1,000 files: no slower than `git`",
                metric: "time",
                size: 1000,
                target: Target::Times(1.0, publish::GIT, 1000),
            },
            Aim {
                text: "`publish:github`, 20,000 files: no slower than `git`",
                metric: "time",
                size: 20_000,
                target: Target::Times(1.0, publish::GIT, 20_000),
            },
        ],
        kind: Kind::Publish,
    },
    Workload {
        id: "list-sqlite",
        title: "Lists of tasks, SQLite",
        about: ABOUT_LISTING,
        minutes: 4.0,
        figures: LISTING,
        aims: &[
            Aim::times("`GET /v2/tasks?limit=20` at 1,000 tasks: 15 times the requests", "per-second", 1000, 15.0),
            Aim {
                text: "its p99 at a million tasks: no worse than upstream's at a thousand",
                metric: "p99",
                size: 1_000_000,
                target: Target::Times(1.0, UPSTREAM, 1000),
            },
        ],
        kind: Kind::Listing(Store::File),
    },
    Workload {
        id: "list-postgres",
        title: "Lists of tasks, PostgreSQL",
        about: ABOUT_LISTING,
        minutes: 4.0,
        figures: LISTING,
        aims: &[
            Aim::times(
                "`GET /v2/tasks?limit=20` at 1,000 tasks, PostgreSQL: 15 times the requests",
                "per-second",
                1000,
                15.0,
            ),
            Aim {
                text: "its p99 at a million tasks, PostgreSQL: no worse than upstream's at a thousand",
                metric: "p99",
                size: 1_000_000,
                target: Target::Times(1.0, UPSTREAM, 1000),
            },
        ],
        kind: Kind::Listing(Store::Postgres),
    },
    Workload {
        id: "actions",
        title: "`GET /v2/actions`, A: nobody needs credentials",
        about: ABOUT_ACTIONS,
        minutes: 2.0,
        figures: actions::FIGURES,
        aims: &[Aim::times("`GET /v2/actions`, 32 connections, A: 10 times the requests", "per-second", 32, 10.0)],
        kind: Kind::Actions { guarded: false },
    },
    Workload {
        id: "actions-guarded",
        title: "`GET /v2/actions`, B: token, permissions, action sources",
        about: ABOUT_ACTIONS,
        minutes: 2.0,
        figures: actions::FIGURES,
        aims: &[Aim::times("`GET /v2/actions`, 32 connections, B: 80 times the requests", "per-second", 32, 80.0)],
        kind: Kind::Actions { guarded: true },
    },
    Workload {
        id: "event-delay",
        title: "From the log to subscribers",
        about: "A task of 40 steps, each of which reads a file from the bench, which answers after 75 ms; so the bench knows when the             step goes on. Measured is the time from there to the arrival of the event `Finished step …` at each subscriber. One run             to warm up; SQLite file.",
        minutes: 4.0,
        figures: &[
            less("p50", "step goes on to its end at the subscribers, p50", "ms", "subscribers"),
            less("p99", "the same, p99", "ms", "subscribers"),
            less("slowest", "the same, slowest", "ms", "subscribers"),
        ],
        aims: &[Aim {
            text: "event to subscriber, p99 with 200 subscribers: 20 ms",
            metric: "p99",
            size: 200,
            target: Target::AtMost(20.0),
        }],
        kind: Kind::Delays,
    },
    Workload {
        id: "subscribers",
        title: "Thousands of subscribers of one task",
        about: "All connect to one task, which waits; then it logs 100 lines in 100 iterations of a step, as fast as it can. Measured is             the time until the last subscriber has the completion.",
        minutes: 4.0,
        figures: &[
            less_by_unit("all-received", "until everybody has everything", "ms", "subscribers"),
            less("peak", "highest proportional set size, connecting included", "MiB", "subscribers"),
        ],
        aims: &[Aim {
            text: "2,000 subscribers on one task: all receive everything, under 100 MB in all",
            metric: "peak",
            size: 2000,
            target: Target::AtMost(95.0),
        }],
        kind: Kind::Burst,
    },
    Workload {
        id: "steps",
        title: "From one step to the next",
        about: "POST to the status `completed` of tasks with so many steps, each of which logs a line; the median of 5 tasks a round.             SQLite file, 20 tasks to warm up.",
        minutes: 2.0,
        figures: &[less_by_unit("time", "all steps", "ms", "steps")],
        aims: &[],
        kind: Kind::Transitions,
    },
    Workload {
        id: "dry-run",
        title: "Dry runs of the templates that ship",
        about: "`POST /v2/dry-run` of `templates/hello-service` and `templates/github-service`, so many at the same time, until all are \
            answered; the median of 5, after 5 to warm up. `templates/golden-path` needs actions that upstream does not have.",
        minutes: 1.5,
        figures: &[
            less_by_unit("hello-service", "hello-service", "ms", "dry runs at once"),
            less_by_unit("github-service", "github-service", "ms", "dry runs at once"),
        ],
        aims: &[],
        kind: Kind::DryRun,
    },
    Workload {
        id: "waiting",
        title: "Tasks that wait",
        about: "So many tasks with one `debug:wait` of 5 s each, sent over 16 connections, until all are completed; 10 tasks at once             are configured on both sides.",
        minutes: 3.5,
        figures: &[less("time", "until all are completed", "ms", "tasks")],
        aims: &[],
        kind: Kind::Waiting,
    },
    Workload {
        id: "memory",
        title: "Memory after many tasks",
        about: "The proportional set size 2 s after so many trivial tasks (the sizes add up in one process), SQLite file.",
        minutes: 3.0,
        figures: &[less("pss", "proportional set size", "MiB", "tasks run")],
        aims: &[],
        kind: Kind::Memory,
    },
];

/// The name of a limit, for tests of the document.
#[cfg(test)]
pub(crate) fn copy_name() -> &'static str {
    fetch::COPY
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::results::OURS;

    #[test]
    fn aims_speak_of_figures_that_are_there() {
        for workload in ALL {
            for aim in workload.aims {
                assert!(workload.figure(aim.metric).is_some(), "{}: {}", workload.id, aim.text);
                if let Target::Times(_, series, _) = aim.target {
                    assert!([OURS, UPSTREAM, fetch::COPY, publish::GIT].contains(&series), "{series}");
                }
            }
            let others = ALL.iter().filter(|other| other.id == workload.id).count();
            assert_eq!(others, 1, "{} is there twice", workload.id);
        }
    }
}
