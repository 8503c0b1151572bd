//! Which tasks a caller may see, as a part of a query.
//!
//! The texts and their meaning are those of `@backstage/plugin-scaffolder-backend` 4.2.0 (`DatabaseTaskStore.list`),
//! SQL's third truth value included: a task without a creator is neither in a list of creators nor outside of it.

use sqlx::{Database, Encode, QueryBuilder, Type};

/// A condition on a task's creator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CreatorFilter {
    /// Created by one of these entity references.
    Creators(Vec<String>),
    /// All of them hold.
    All(Vec<CreatorFilter>),
    /// One of them holds.
    Any(Vec<CreatorFilter>),
    /// It does not hold.
    Not(Box<CreatorFilter>),
}

/// Adds the condition to a query, in parentheses where it has several parts.
pub(super) fn push<DB: Database>(query: &mut QueryBuilder<DB>, filter: &CreatorFilter)
where
    String: for<'q> Encode<'q, DB> + Type<DB>,
{
    match filter {
        CreatorFilter::Creators(creators) => push_creators(query, creators, "IN", "1 = 0"),
        CreatorFilter::All(parts) => push_parts(query, parts, " AND ", "1 = 1"),
        CreatorFilter::Any(parts) => push_parts(query, parts, " OR ", "1 = 0"),
        CreatorFilter::Not(part) => match &**part {
            CreatorFilter::Creators(creators) => push_creators(query, creators, "NOT IN", "1 = 1"),
            other => {
                query.push("NOT (");
                push(query, other);
                query.push(")");
            }
        },
    }
}

fn push_creators<DB: Database>(query: &mut QueryBuilder<DB>, creators: &[String], operator: &str, if_empty: &str)
where
    String: for<'q> Encode<'q, DB> + Type<DB>,
{
    if creators.is_empty() {
        query.push(if_empty);
        return;
    }
    query.push("created_by ").push(operator).push(" (");
    let mut list = query.separated(", ");
    for creator in creators {
        list.push_bind(creator.clone());
    }
    query.push(")");
}

fn push_parts<DB: Database>(query: &mut QueryBuilder<DB>, parts: &[CreatorFilter], joint: &str, if_empty: &str)
where
    String: for<'q> Encode<'q, DB> + Type<DB>,
{
    if parts.is_empty() {
        query.push(if_empty);
        return;
    }
    query.push("(");
    for (index, part) in parts.iter().enumerate() {
        if index > 0 {
            query.push(joint);
        }
        push(query, part);
    }
    query.push(")");
}

#[cfg(test)]
mod tests {
    use sqlx::Sqlite;

    use super::*;

    #[test]
    fn trees_become_sql() {
        use CreatorFilter::{All, Any, Creators, Not};
        let creators = |names: &[&str]| Creators(names.iter().map(ToString::to_string).collect());
        for (filter, expected) in [
            (creators(&["a"]), "created_by IN (?)"),
            (creators(&["a", "b"]), "created_by IN (?, ?)"),
            (creators(&[]), "1 = 0"),
            (Not(Box::new(creators(&["a"]))), "created_by NOT IN (?)"),
            (Not(Box::new(creators(&[]))), "1 = 1"),
            (
                All(vec![creators(&["a"]), Any(vec![creators(&["b"]), Not(Box::new(All(vec![creators(&["c"])])))])]),
                "(created_by IN (?) AND (created_by IN (?) OR NOT ((created_by IN (?)))))",
            ),
        ] {
            let mut query = QueryBuilder::<Sqlite>::new("");
            push(&mut query, &filter);
            assert_eq!(query.sql().as_str(), expected, "{filter:?}");
        }
    }
}
