//! `resetnetwork`: makes the guest's network what the host says it is.
//!
//! The request itself says nothing: the configuration is below `vm-data` in Xenstore (protocol.md, "Xenstore layout").

use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Argument, Command, Context, Facts, Kind, Progress, Questions, Work, always};
use crate::agent::{Response, Severity};
use crate::network;
use crate::plan::PlanFailure;
use crate::render::{self, HostData, Prepared};
use crate::wire::StorePath;

pub(super) const COMMAND: Command = Command { name: "resetnetwork", kind: Kind::Change, enabled: always, advance };

/// The most entries that are read of a list: one more than can be configured, so that one too many is told to the host.
const ENTRIES_MAX: usize = network::INTERFACES_MAX + 1;

const HOSTNAME: StorePath = StorePath::constant("vm-data/hostname");
const NETWORKING: StorePath = StorePath::constant("vm-data/networking");
const VIFS: StorePath = StorePath::constant("device/vif");

fn advance(_: &Argument, facts: &mut Facts, _: &mut Context<'_>) -> Progress {
    let data = match host_data(facts) {
        Ok(data) => data,
        Err(questions) => return Progress::Ask(questions),
    };
    match render::reset_network(&data, &facts.snapshot) {
        Prepared::Missing(probes) => Progress::Ask(Questions { probes, ..Questions::default() }),
        Prepared::Refused(why) => Progress::Reply(Response::failed(why)),
        Prepared::Ready(configuration) => {
            let found = format!("{}, because {}", configuration.target, configuration.because);
            let mut notices = Vec::from([(Severity::Info, found)]);
            notices.extend(configuration.warnings.into_iter().map(|text| (Severity::Warning, text)));
            let success = match configuration.errors.as_slice() {
                [] => Response::success(String::new()),
                errors => Response::failed(errors.join("; ")),
            };
            Progress::Run(Work { plan: configuration.plan, notices, success, failure })
        }
    }
}

/// Nova takes code 500 for success of this command, so a failure is never 500.
pub(super) fn failure(failure: &PlanFailure) -> Response {
    Response::failed(format!("network not changed: {failure}"))
}

/// What the host says, or what has to be read first: the two lists, then what is in them.
fn host_data(facts: &Facts) -> Result<HostData, Questions> {
    let (Some(networking), Some(vifs)) = (facts.lists.get(&NETWORKING), facts.lists.get(&VIFS)) else {
        return Err(Questions {
            lists: Vec::from([NETWORKING, VIFS]),
            values: Vec::from([HOSTNAME]),
            ..Questions::default()
        });
    };
    let networking = networking.iter().take(ENTRIES_MAX).filter_map(|name| Some((name, NETWORKING.join(name).ok()?)));
    let vifs = vifs.iter().take(ENTRIES_MAX).filter_map(|name| {
        let mac = VIFS.join(name).ok()?.join("mac").ok()?;
        Some((name.parse::<u32>().ok()?, mac))
    });
    let missing: Vec<StorePath> = networking
        .clone()
        .map(|(_, path)| path)
        .chain(vifs.clone().map(|(_, path)| path))
        .filter(|path| !facts.values.contains_key(path))
        .collect();
    if !missing.is_empty() {
        return Err(Questions { values: missing, ..Questions::default() });
    }
    let value = |path: &StorePath| facts.values.get(path).cloned().flatten();
    Ok(HostData {
        hostname: value(&HOSTNAME),
        networking: networking.filter_map(|(name, path)| Some((name.clone(), value(&path)?))).collect(),
        vifs: vifs
            .filter_map(|(index, path)| Some((index, String::from_utf8_lossy(&value(&path)?).into_owned())))
            .collect(),
    })
}
