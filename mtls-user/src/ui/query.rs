//! The filters of the page, which are those of the command line.

use std::str::FromStr;

use serde::Deserialize;

use crate::select::{Filter, Test, Typed};

/// What is said behind the `?`. Values of one filter are alternatives, with commas between them.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Query {
    /// Words that a row has to have.
    q: String,
    namespace: String,
    from: String,
    to: String,
    port: String,
    protocol: String,
    verdict: String,
    /// Exempt traffic too: `1`.
    all: String,
    /// The edge that is to be explained.
    pub(super) edge: String,
}

impl Query {
    /// As a filter; what is wrong, with the right ones, where a value is.
    pub(super) fn filter(&self) -> Result<Filter, String> {
        Ok(Filter {
            all: vec![
                each(&self.namespace, |text| Ok(Test::Namespace(text.into())))?,
                each(&self.from, |text| parsed(text).map(Test::From))?,
                each(&self.to, |text| parsed(text).map(Test::To))?,
                each(&self.port, |text| parsed(text).map(Test::Port))?,
                each(&self.protocol, |text| Ok(Test::Protocol(text.into())))?,
                each(&self.verdict, |text| parsed(text).map(Test::Verdict))?,
            ],
            ..Filter::default()
        })
    }

    pub(super) fn typed(&self) -> Typed {
        Typed::new(&self.q)
    }

    pub(super) fn all(&self) -> bool {
        self.all == "1"
    }
}

fn each(text: &str, test: impl Fn(&str) -> Result<Test, String>) -> Result<Vec<Test>, String> {
    let parts = text.split(',').map(str::trim);
    parts.filter(|part| !part.is_empty()).map(test).collect()
}

fn parsed<T: FromStr<Err = String>>(text: &str) -> Result<T, String> {
    text.parse()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_filters_are_those_of_the_command_line() {
        let query = Query {
            namespace: "shop, data".into(),
            to: "data/pg".into(),
            port: "5432,8000-8999".into(),
            verdict: "plaintext".into(),
            ..Query::default()
        };
        let filter = query.filter().unwrap();
        let groups: Vec<_> = filter.all.iter().map(Vec::len).collect();
        assert_eq!(groups, [2, 0, 1, 2, 0, 1]);
        assert!(Query::default().filter().unwrap().is_empty());
        for wrong in [
            Query {
                port: "many".into(),
                ..Query::default()
            },
            Query {
                from: "deploy//".into(),
                ..Query::default()
            },
            Query {
                verdict: "green".into(),
                ..Query::default()
            },
        ] {
            assert!(wrong.filter().is_err(), "{wrong:?}");
        }
    }
}
