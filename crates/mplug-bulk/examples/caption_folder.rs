//! Captions the pictures of a folder into JSON lines. Killed and started again, it goes on where it was.
//!
//! ```sh
//! cargo run --release -p mplug-bulk --example caption_folder -- MODEL_FOLDER PICTURES captions.jsonl
//! ```

use std::error::Error;
use std::io;
use std::ops::ControlFlow;

use mplug::Captioner;
use mplug_bulk::{BulkPlan, CaptionFormat, CollectOptions, Event, Inputs, OnUnfinished, Output, Writer};

fn main() -> Result<(), Box<dyn Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [model, pictures, output] = &args[..] else {
        return Err("expected three arguments: MODEL_FOLDER PICTURES OUTPUT.jsonl".into());
    };

    let options = CollectOptions { is_recursive: true, ..CollectOptions::default() };
    let inputs = Inputs::collect(&[pictures.into()], &options, io::empty())?;
    let output = Output::File { path: output.into(), format: CaptionFormat::Jsonl };
    let mut plan = BulkPlan::new(inputs, None, output)?;
    plan.on_unfinished = OnUnfinished::Resume;

    let mut on_event = |event: Event<'_>| {
        print(&event);
        ControlFlow::Continue(())
    };
    let run = plan.prepare(&mut on_event)?;
    let captioner = Captioner::open(model)?;
    let writer = Writer::new(&captioner, captioner.default_options(), model);
    let summary = run.run(&[writer], &mut on_event)?;
    if summary.passing > 0 {
        return Err(format!("{} pictures are to be tried again", summary.passing).into());
    }
    Ok(())
}

#[expect(clippy::print_stdout, reason = "an example for the terminal")]
fn print(event: &Event<'_>) {
    match event {
        Event::Resumed { done, inputs } => println!("{done} of {inputs} were done already"),
        Event::Started { done, inputs } => println!("{} pictures to caption", inputs - done),
        Event::Failed { path, failure, .. } => println!("{}: {failure}", path.display()),
        Event::Advanced { by, failed } => println!("{by} more, {failed} failed until now"),
        _ => {}
    }
}
