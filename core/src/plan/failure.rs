//! How a plan failed, and what became of the state before.

use alloc::string::String;
use core::fmt;

use crate::effect::Failure;

/// A plan that failed. Its text names the step that ended it, why, and whether the state before was brought back.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PlanFailure {
    /// The step that ended the plan, in words.
    pub step: String,
    /// Why it failed.
    pub failure: Failure,
    /// The first step of the roll-back that failed, if one did.
    pub roll_back: RollBack,
}

/// What became of the changes that were made before a plan failed.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RollBack {
    /// They were undone.
    Done,
    /// A step of the roll-back failed; the others were carried out.
    Failed {
        /// The step in words.
        step: String,
        /// Why it failed.
        failure: Failure,
    },
    /// There were none.
    NothingToDo,
}

impl fmt::Display for PlanFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.step, self.failure)?;
        match &self.roll_back {
            RollBack::Done => f.write_str("; previous state restored"),
            RollBack::Failed { step, failure } => {
                write!(f, "; restore failed too: {step}: {failure}")
            }
            RollBack::NothingToDo => Ok(()),
        }
    }
}

impl core::error::Error for PlanFailure {}
