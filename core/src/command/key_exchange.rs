//! `keyinit`: the first half of a password change, an exchange of keys.

use alloc::string::{String, ToString};

use super::{Argument, Command, Context, Facts, Kind, Progress, Questions, always};
use crate::crypto::compat::{ENTROPY_MAX, PrivateKey, PublicKey};
use crate::response::Response;
use crate::response::ReturnCode;

pub(super) const COMMAND: Command = Command {
    name: "keyinit",
    kind: Kind::Query,
    enabled: always,
    advance,
};

/// The key material is fresh for every exchange: a server may be a clone or a restored snapshot of another.
fn advance(argument: &Argument, facts: &mut Facts, context: &mut Context<'_>) -> Progress {
    let Some(host) = argument
        .text()
        .and_then(|text| PublicKey::try_from(text.as_str()).ok())
    else {
        return Progress::Reply(Response::error("Invalid public key"));
    };
    let Some(entropy) = facts.entropy.take() else {
        return Progress::Ask(Questions {
            entropy: Some(ENTROPY_MAX),
            ..Questions::default()
        });
    };
    let Ok(key) = PrivateKey::from_entropy(entropy) else {
        return Progress::Reply(Response::error("No random numbers to make a key of"));
    };
    let message: String = key.public_key().to_string();
    context.exchanges.insert(context.now, key.agree(&host));
    Progress::Reply(Response {
        code: ReturnCode::KeyExchanged,
        message,
    })
}
