//! Writes the shell completions and the manual page of nova-agent into a directory, as `make install` installs them. It is
//! an example, so that the agent itself does not carry what makes them.
//!
//! Usage: command_line_docs DIRECTORY

use std::path::PathBuf;
use std::{env, fs, io};

use clap_complete::Shell;
use nova_agent_system::cli::CommandLine;

const NAME: &str = "nova-agent";

fn main() -> io::Result<()> {
    let directory = env::args_os()
        .nth(1)
        .map(PathBuf::from)
        .ok_or_else(|| io::Error::other("usage: command_line_docs DIRECTORY"))?;
    fs::create_dir_all(&directory)?;
    let mut definition = CommandLine::definition();
    for (shell, file) in [
        (Shell::Bash, "nova-agent.bash"),
        (Shell::Fish, "nova-agent.fish"),
        (Shell::Zsh, "_nova-agent"),
    ] {
        let mut text = Vec::new();
        clap_complete::generate(shell, &mut definition, NAME, &mut text);
        fs::write(directory.join(file), text)?;
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(definition.clone())
        .section("8")
        .render(&mut page)?;
    fs::write(directory.join("nova-agent.8"), page)?;
    for (command, name) in [("plan", "nova-agent-plan"), ("run", "nova-agent-run")] {
        let command = definition
            .find_subcommand(command)
            .ok_or_else(|| io::Error::other(format!("no command {command}")))?;
        let mut page = Vec::new();
        clap_mangen::Man::new(command.clone().name(name))
            .section("8")
            .render(&mut page)?;
        fs::write(directory.join(name).with_extension("8"), page)?;
    }
    Ok(())
}
