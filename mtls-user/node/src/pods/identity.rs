//! Parses identities in certificates and server names into Kubernetes terms.

/// A service account named by an identity.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Account<'a> {
    pub(super) namespace: &'a str,
    pub(super) name: &'a str,
}

/// Reads `spiffe://DOMAIN/ns/NAMESPACE/sa/ACCOUNT` (Istio, SPIRE on Kubernetes) or
/// `ACCOUNT.NAMESPACE.serviceaccount.identity.…` (Linkerd). `None` for any other identity.
pub(super) fn account(identity: &str) -> Option<Account<'_>> {
    spiffe(identity).or_else(|| linkerd(identity))
}

fn spiffe(identity: &str) -> Option<Account<'_>> {
    let mut parts = identity.strip_prefix("spiffe://")?.split('/').skip(1);
    let account = match (parts.next()?, parts.next()?, parts.next()?, parts.next()?) {
        ("ns", namespace, "sa", name) => Account { namespace, name },
        _ => return None,
    };
    (parts.next().is_none() && !account.namespace.is_empty() && !account.name.is_empty())
        .then_some(account)
}

fn linkerd(identity: &str) -> Option<Account<'_>> {
    // A service account's name may have dots, a namespace's cannot.
    let (before, _) = identity.split_once(".serviceaccount.identity.")?;
    let (name, namespace) = before.rsplit_once('.')?;
    (!name.is_empty() && !namespace.is_empty()).then_some(Account { namespace, name })
}

impl std::fmt::Display for Account<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_are_read() {
        let account = Some(Account {
            namespace: "shop",
            name: "db",
        });
        assert_eq!(
            super::account("spiffe://cluster.local/ns/shop/sa/db"),
            account
        );
        assert_eq!(
            super::account("db.shop.serviceaccount.identity.linkerd.cluster.local"),
            account
        );
        assert_eq!(
            super::account("a.b.shop.serviceaccount.identity.l.c").map(|a| a.name),
            Some("a.b")
        );
    }

    #[test]
    fn nothing_else_is() {
        for identity in [
            "",
            "CN=db",
            "db.shop.svc.cluster.local",
            "spiffe://cluster.local/db",
            "spiffe://cluster.local/ns/shop/sa/",
            "spiffe://cluster.local/ns/shop/sa/db/more",
            "spiffe:///ns/shop",
            ".serviceaccount.identity.x",
            "shop.serviceaccount.identity.x",
        ] {
            assert_eq!(account(identity), None, "{identity}");
        }
    }
}
