//! What always holds, whatever goes wrong.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::requests::MARK;

/// What always holds.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Invariant {
    /// A response exists before its request is removed.
    AnsweredFirst,
    /// A response is what the host's reader can bear, and of bounded length.
    Bearable,
    /// What is queued and at work at once is bounded: outputs of one input, operations on the wire, effects.
    Bounded,
    /// The machine keeps its contract with its driver.
    Contract,
    /// The agent leaves within its time when it is told to.
    Leaves,
    /// No secret is in a response, a report, or what `Debug` prints.
    NoSecret,
    /// A command is not carried out again when it is answered.
    NotTwice,
    /// Changes of the guest are carried out one at a time.
    OneAtATime,
    /// A request gets one response, and no second, different one.
    OneResponse,
    /// Nothing panics.
    Panic,
    /// When nothing goes wrong any more, all requests are answered in bounded time, and the agent sleeps.
    Progress,
    /// A response belongs to its request, and what it says is true.
    RightResponse,
    /// A file is one of the versions that it was given, never a mixture.
    WholeFiles,
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::AnsweredFirst => "a response exists before its request is removed",
            Self::Bearable => "a response is what the host's reader can bear",
            Self::Bounded => "what is queued and at work is bounded",
            Self::Contract => "the machine keeps its contract",
            Self::Leaves => "the agent leaves in time",
            Self::NoSecret => "no secret is seen",
            Self::NotTwice => "nothing is carried out again when it is answered",
            Self::OneAtATime => "changes are carried out one at a time",
            Self::OneResponse => "a request gets one response",
            Self::Panic => "nothing panics",
            Self::Progress => "everything comes to rest",
            Self::RightResponse => "a response is true and belongs to its request",
            Self::WholeFiles => "a file is an old or a new version",
        })
    }
}

/// Something that must not be.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Violation {
    /// What did not hold.
    pub invariant: Invariant,
    /// What happened instead.
    pub what: String,
}

/// Fails with what is wrong unless a condition holds.
pub(super) fn ensure(
    holds: bool,
    invariant: Invariant,
    what: impl FnOnce() -> String,
) -> Result<(), Violation> {
    if holds {
        Ok(())
    } else {
        Err(Violation {
            invariant,
            what: what(),
        })
    }
}

/// What must not be seen, in the forms in which it could be.
#[derive(Debug)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    pub(super) fn new() -> Self {
        let mut forms = vec![MARK.into()];
        for shift in 0..3 {
            // What stands at the ends of the encoded text depends on what is around it.
            let encoded = STANDARD.encode(format!("{}{MARK}", "-".repeat(shift)));
            forms.extend(encoded.get(4..12).map(String::from));
        }
        // As `Debug` prints bytes.
        let numbers = |from: &str| {
            from.bytes()
                .map(|byte| byte.to_string())
                .collect::<Vec<_>>()
                .join(", ")
        };
        forms.push(numbers(MARK));
        Self(forms)
    }

    /// The secret that two sides of an exchange share.
    pub(super) fn add(&mut self, secret: &str) {
        self.0.push(secret.into());
    }

    /// Whether none of it is in a text.
    pub(super) fn are_absent(&self, text: &str) -> bool {
        !self.0.iter().any(|form| text.contains(form.as_str()))
    }
}
