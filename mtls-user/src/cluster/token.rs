//! A token that the daemons take: one for the audience `mtls`.

use std::fs::File;

use anyhow::{Context, bail};
use k8s_openapi::api::core::v1::ServiceAccount;
use kube::Client;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};

use super::Options;
use super::client::{code, in_time, text};
use super::find::Daemons;

/// Seconds for which one is asked: as short as the API server grants.
const SECONDS: u32 = 600;

/// Longest token, in bytes.
const LONGEST: u64 = 64 << 10;

/// A service account.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Account {
    namespace: String,
    name: String,
}

/// `NAMESPACE/NAME`.
pub(super) fn account(text: &str) -> Result<Account, String> {
    match text.split_once('/') {
        Some((namespace, name)) if !namespace.is_empty() && !name.is_empty() => Ok(Account {
            namespace: namespace.into(),
            name: name.into(),
        }),
        _ => Err("expected NAMESPACE/NAME".into()),
    }
}

/// The token that was given, else one of a service account whose tokens the user may make.
pub(super) async fn obtain(
    client: &Client,
    options: &Options,
    daemons: &Daemons,
    namespace: Option<&str>,
) -> anyhow::Result<String> {
    if let Some(path) = &options.token_file {
        let token = File::open(path).map_err(Into::into);
        let token = token.and_then(|file| text(file, LONGEST));
        let token = token.with_context(|| format!("read the token in {}", path.display()))?;
        return Ok(token.trim().to_owned());
    }
    if let Some(account) = &options.as_account {
        return request(client, account)
            .await
            .map_err(|error| refused(account, error));
    }
    // Who may ask about everything does so; a tenant has an account in the namespace.
    let viewer = |namespace: &str| Account {
        namespace: namespace.into(),
        name: format!("{}-viewer", daemons.name),
    };
    let mut refusals = Vec::new();
    for place in [Some(&*daemons.namespace), namespace].into_iter().flatten() {
        let account = viewer(place);
        match request(client, &account).await {
            Ok(token) => return Ok(token),
            Err(error) if matches!(code(&error), Some(403 | 404)) => {
                refusals.push(format!("{:#}", refused(&account, error)));
            }
            Err(error) => return Err(refused(&account, error)),
        }
    }
    let hint = if namespace.is_some() {
        ""
    } else {
        "; with one namespace (-n), its own viewer is tried too"
    };
    bail!(
        "no token for the audience mtls: {}{hint}; or give one with --token-file",
        refusals.join("; ")
    )
}

fn refused(account: &Account, error: anyhow::Error) -> anyhow::Error {
    let Account { namespace, name } = account;
    match code(&error) {
        Some(404) => anyhow::anyhow!("there is no service account {namespace}/{name}"),
        Some(403) => anyhow::anyhow!(
            "you may not create tokens (serviceaccounts/token) of {namespace}/{name}"
        ),
        _ => error.context(format!("a token of {namespace}/{name}")),
    }
}

async fn request(client: &Client, account: &Account) -> anyhow::Result<String> {
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), &account.namespace);
    let wanted = json!({
        "apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest",
        "spec": {"audiences": [mtls_node::api::AUDIENCE], "expirationSeconds": SECONDS},
    });
    let params = PostParams::default();
    let made = accounts.create_subresource("token", &account.name, &params, &wanted);
    let made: Value = in_time(made).await?;
    Ok(made["status"]["token"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_has_a_namespace_and_a_name() {
        let read = account("shop/mtls-viewer").unwrap();
        assert_eq!((&*read.namespace, &*read.name), ("shop", "mtls-viewer"));
        for wrong in ["", "x", "/x", "x/"] {
            assert!(account(wrong).is_err(), "{wrong}");
        }
    }
}
