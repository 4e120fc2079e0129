//! What a reset of the network costs in the core: the processor time for validating the host's data, detecting the network
//! stack and rendering its files, all rounds of questions together, for every stack that a guest of the repository has.
//!
//! The data is that of two interfaces, with four addresses and ten routes together and with as many each. Run it with
//! `make bench`.

#![allow(
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a program whose output is its result"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use nova_agent_core::effect::Snapshot;
use nova_agent_core::render::{HostData, Prepared, reset_network};
use nova_agent_tests::fixture::Fixture;
use rustix::time::{ClockId, clock_gettime};
use serde_json::json;

/// How often each round is measured.
const SAMPLES: usize = 301;

fn main() {
    let mut fixtures: BTreeMap<String, Fixture> = BTreeMap::new();
    for fixture in Fixture::all()
        .into_iter()
        .filter(|fixture| fixture.name() == fixture.system())
    {
        if let Some(stack) = fixture.stack() {
            fixtures.entry(stack).or_insert(fixture);
        }
    }
    for routes in [5, 10] {
        println!(
            "two interfaces with {} addresses and {routes} routes each",
            addresses(routes)
        );
        println!(
            "{:<32}{:<28}{:>7}{:>9}{:>14}{:>14}",
            "stack", "guest", "rounds", "changes", "first time", "no change"
        );
        for (stack, fixture) in &fixtures {
            measure(stack, fixture, routes);
        }
    }
}

/// The addresses of an interface with so many routes, half of them of IPv4.
const fn addresses(routes: u8) -> u8 {
    if routes < 10 { 2 } else { 4 }
}

fn measure(stack: &str, fixture: &Fixture, routes: u8) {
    let data = host_data(&fixture.host(), routes);
    let guest = fixture.guest();
    let (first, rounds, prepared) = cost(&data, |probes| guest.ask(probes));
    let Prepared::Ready(configuration) = prepared else {
        println!(
            "{stack:<32}{:<28} is not configured: {prepared:?}",
            fixture.name()
        );
        return;
    };
    let changes = configuration.plan.changes().count();
    let carried_out = guest.carry_out(configuration.plan);
    let (again, ..) = cost(&data, |probes| guest.ask(probes));
    let again = if carried_out.is_ok() {
        format!("{again:?}")
    } else {
        "failed".into()
    };
    println!(
        "{stack:<32}{:<28}{rounds:>7}{changes:>9}{:>14}{again:>14}",
        fixture.name(),
        format!("{first:?}")
    );
}

/// The median of the time of every round, added up; how many rounds there are, and what comes of the last.
fn cost(
    data: &HostData,
    ask: impl Fn(Vec<nova_agent_core::effect::Probe>) -> Snapshot,
) -> (Duration, usize, Prepared) {
    let mut snapshot = Snapshot::default();
    let (mut sum, mut rounds) = (Duration::ZERO, 0);
    loop {
        let mut samples: Vec<Duration> = (0..SAMPLES)
            .map(|_| {
                let start = processor_time();
                let prepared = reset_network(data, &snapshot);
                let end = processor_time();
                drop(prepared);
                end.saturating_sub(start)
            })
            .collect();
        samples.sort_unstable();
        sum += samples[SAMPLES / 2];
        rounds += 1;
        match reset_network(data, &snapshot) {
            Prepared::Missing(probes) => snapshot.merge(ask(probes)),
            prepared @ (Prepared::Ready(_) | Prepared::Refused(_)) => {
                return (sum, rounds, prepared);
            }
        }
    }
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(
        time.tv_sec.unsigned_abs(),
        u32::try_from(time.tv_nsec).unwrap_or_default(),
    )
}

/// The keys of the guest's own data, each with its share of addresses and routes.
fn host_data(own: &HostData, routes: u8) -> HostData {
    let networking = (1_u8..).zip(&own.networking).map(|(nth, (key, _))| {
        let gateway = format!("192.0.{nth}.1");
        let route =
            |of: u8| json!({ "route": format!("10.{nth}{of}.0.0"), "netmask": "255.255.0.0", "gateway": gateway });
        let each = 0..addresses(routes) / 2;
        let v4 = |of: u8| json!({ "ip": format!("192.0.{nth}.1{of}"), "netmask": "255.255.255.0" });
        let v6 = |of: u8| json!({ "ip": format!("2001:db8:{nth}::1{of}"), "netmask": 64 });
        let value = json!({
            "label": "public", "mac": key, "gateway": gateway, "gateway_v6": "fe80::1",
            "ips": each.clone().map(v4).collect::<Vec<_>>(), "ip6s": each.map(v6).collect::<Vec<_>>(),
            "routes": (0..routes).map(route).collect::<Vec<_>>(), "dns": ["198.51.100.53", "198.51.100.54"],
        });
        (key.clone(), value.to_string().into_bytes())
    });
    HostData {
        hostname: Some(b"web-01".to_vec()),
        networking: networking.collect(),
        vifs: own.vifs.clone(),
    }
}
