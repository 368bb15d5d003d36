//! The `shelfmark` command.

#![forbid(unsafe_code)]

mod serve;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// A transactional data catalog in one file.
#[derive(Debug, Parser)]
#[command(name = "shelfmark", version, about, arg_required_else_help = true)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves a catalog over HTTP.
    Serve(Box<serve::Serve>),
}

fn main() -> ExitCode {
    let Arguments { command } = Arguments::parse();
    let outcome = match command {
        Command::Serve(serve) => serve.run(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("shelfmark: {error}");
            ExitCode::FAILURE
        }
    }
}
