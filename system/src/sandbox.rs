//! A sandbox: a directory that stands for the guest's file system, in which no program of the guest runs.

use std::collections::BTreeMap;

use nova_agent_core::effect::Program;
use serde::Serialize;

/// The file in a sandbox that lists what was not done, one JSON object per line.
pub const EFFECTS_FILE: &str = "effects.jsonl";

/// The directory in a sandbox with the executables that run in place of the guest's programs.
pub const STAND_INS: &str = "stand-ins";

/// Stands for every secret.
const REDACTED: &str = "[redacted]";

/// One line of [`EFFECTS_FILE`].
#[derive(Serialize)]
#[serde(tag = "effect", rename_all = "snake_case")]
pub(crate) enum Record<'a> {
    Run {
        argv: &'a [String],
        environment: BTreeMap<&'a str, &'a str>,
        stdin: Option<&'static str>,
        timeout_ms: u128,
        carried_out: CarriedOut,
    },
    SetHostname {
        hostname: &'a str,
    },
    SetPassword {
        user: &'a str,
        password: &'static str,
    },
}

/// What stood for a program.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum CarriedOut {
    /// Nothing: it exists, so it counts as a success.
    Assumed,
    /// Nothing: it does not exist.
    NotFound,
    /// An executable of the sandbox.
    StandIn,
}

impl<'a> Record<'a> {
    pub(crate) fn run(program: &'a Program, carried_out: CarriedOut) -> Self {
        let mut environment = BTreeMap::new();
        // One by one: to collect them takes a sort of their own.
        environment.extend(
            program
                .environment
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        );
        Self::Run {
            argv: &program.argv,
            environment,
            stdin: program.stdin.as_ref().map(|_| REDACTED),
            timeout_ms: program.timeout.as_millis(),
            carried_out,
        }
    }

    pub(crate) const fn set_password(user: &'a str) -> Self {
        Self::SetPassword {
            user,
            password: REDACTED,
        }
    }
}
