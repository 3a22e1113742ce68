//! Load generator of the bench: `tradewind-generator load|floor PLAN_JSON`, `tradewind-generator swarm`,
//! `tradewind-generator sink IP COUNT`.
//!
//! Prints one JSON object a line. It is a rival's client as much as ours: it knows WHIP, WHEP and nothing of the product.
#![deny(missing_docs)]

mod floor;
mod frames;
mod host;
mod http;
mod load;
mod media;
mod session;
mod srtp;
mod swarm;
mod viewer;

use std::process::ExitCode;

/// One line of the conversation with whoever started this.
fn say(value: &serde_json::Value) {
    println!("{value}");
}

/// User and system time of this process, in seconds.
fn cpu_seconds() -> f64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is written by the call and lives through it.
    unsafe { libc::clock_gettime(libc::CLOCK_PROCESS_CPUTIME_ID, &mut time) };
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let outcome = match arguments[..] {
        ["load", plan] => serde_json::from_str(plan)
            .map_err(Into::into)
            .and_then(|plan| load::run(&plan)),
        ["floor", plan] => serde_json::from_str(plan)
            .map_err(Into::into)
            .and_then(|plan| floor::run(&plan)),
        ["swarm"] => swarm::run(),
        ["sink", ip, count] => count
            .parse()
            .map_err(std::io::Error::other)
            .and_then(|count| floor::sink(ip, count)),
        _ => {
            eprintln!("usage: tradewind-generator load PLAN_JSON | floor PLAN_JSON | swarm | sink IP COUNT");
            return ExitCode::from(2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("tradewind-generator: {error}");
            ExitCode::FAILURE
        }
    }
}
