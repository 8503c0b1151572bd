//! The test server does what the tests that use it rely on.

#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use understudy_testbed::postgres::Postgres;

#[tokio::test]
async fn a_server_with_databases_and_outages() {
    let server = Postgres::start().await.unwrap();
    let (one, other) = (server.database().await.unwrap(), server.database().await.unwrap());
    assert_ne!(one.name, other.name);
    one.sql("CREATE TABLE kept (id integer PRIMARY KEY); INSERT INTO kept VALUES (1), (2)").await.unwrap();
    assert_eq!(one.sql("SELECT id, id + 1 FROM kept ORDER BY id").await.unwrap(), "1|2\n2|3");
    let refused = other.sql("SELECT id FROM kept").await.unwrap_err().to_string();
    assert!(refused.contains("kept"), "{refused}");
    let schema = one.schema().await.unwrap();
    assert!(schema.contains("CREATE TABLE public.kept") && !schema.contains("--"), "{schema}");

    for crash in [false, true] {
        if crash {
            server.crash().await.unwrap()
        } else {
            server.stop().await.unwrap()
        }
        assert!(one.sql("SELECT 1").await.is_err());
        server.start_again().await.unwrap();
        assert_eq!(one.sql("SELECT count(*) FROM kept").await.unwrap(), "2");
    }
}
