//! Archives as pictures' places: any number of them with few open files, and none that changed under the run.

use std::fs;
use std::path::Path;

use crate::support::Desk;

fn write_tar(path: &Path, members: &[(&str, &[u8])]) {
    let mut builder = tar::Builder::new(fs::File::create(path).unwrap());
    for (name, bytes) in members {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        builder.append_data(&mut header, name, *bytes).unwrap();
    }
    builder.into_inner().unwrap();
}

/// Folder `s` with `count` tars of two pictures.
#[cfg(unix)]
fn shards(desk: &Desk, count: usize) {
    fs::create_dir(desk.join("s")).unwrap();
    let pictures = ["red.png", "green.png"].map(|name| fs::read(desk.join(name)).unwrap());
    for number in 0..count {
        let members = [("a.png", &pictures[0][..]), ("b.png", &pictures[1])];
        write_tar(&desk.join(&format!("s/{number:04}.tar")), &members);
    }
}

#[cfg(unix)]
#[test]
fn more_archives_than_open_files_lose_nothing() {
    let desk = Desk::new();
    shards(&desk, 1200);
    let args = ["caption", "--model", "model", "s/*.tar", "--format", "jsonl", "--max-new-tokens", "4"];
    let args = [&args[..], &["--batch-size", "64"]].concat();
    let few = desk.run_with_open_files(64, &args);
    assert_eq!((few.code, few.stderr.as_str()), (0, ""));
    let records = few.jsonl();
    assert_eq!(records.len(), 2400);
    for (number, record) in records.iter().enumerate() {
        let name = ["a.png", "b.png"][number % 2];
        assert_eq!(record["path"], format!("s/{:04}.tar/{name}", number / 2));
        assert_eq!(record["caption"], records[number % 2]["caption"]);
    }
    // Parts are of pictures, neighbours, as they were before: 2400 * 63 / 64 = 2362.
    let part = desk.run_with_open_files(64, &[&args[..], &["--shard", "63/64"]].concat());
    assert_eq!(part.code, 0, "{}", part.stderr);
    let lines: Vec<&str> = few.stdout.lines().collect();
    assert_eq!(part.stdout.lines().collect::<Vec<_>>(), lines[2362..]);
    let kept = [&args[..], &["--output", "out.jsonl", "--errors", "fail"]].concat();
    assert_eq!(desk.run_with_open_files(64, &kept).code, 0);
    assert_eq!(fs::read_to_string(desk.join("out.jsonl")).unwrap(), few.stdout);
}

/// An archive that cannot be read for a moment would shift the parts of all machines: nothing is captioned then.
#[cfg(target_os = "linux")]
#[test]
fn a_list_that_is_not_whole_has_no_parts() {
    let desk = Desk::new();
    // Reading its beginning is an error of the device.
    std::os::unix::fs::symlink("/proc/self/mem", desk.join("bad.tar")).unwrap();
    for args in [&["--shard", "0/2"][..], &["--output", "out.txt"]] {
        let refused = desk.caption(&[&["red.png", "bad.tar"], args].concat());
        assert_eq!(refused.code, 2, "{refused:?}");
        let message = &refused.check_messages().stderr;
        assert!(
            message.contains("bad.tar: ") && message.contains("list of inputs is not whole"),
            "{message}"
        );
        assert!(!desk.join("out.txt").exists() && !desk.join("out.txt.part").exists());
    }
    let alone = desk.caption(&["red.png", "bad.tar"]);
    assert_eq!((alone.code, alone.stdout.lines().count()), (1, 1), "{alone:?}");
    assert!(alone.stderr.contains("1 of 2 inputs not tried to the end; run again"), "{alone:?}");
}

/// With a tar as output the pictures are read twice.
#[test]
fn an_archive_among_the_inputs_is_read_again_for_a_tar() {
    let desk = Desk::new();
    let red = fs::read(desk.join("red.png")).unwrap();
    write_tar(&desk.join("in.tar"), &[("a.png", &red)]);
    assert_eq!(desk.caption(&["in.tar", "--format", "tar", "--output", "out.tar"]).code, 0);
    let mut archive = tar::Archive::new(fs::File::open(desk.join("out.tar")).unwrap());
    let mut names =
        archive.entries().unwrap().map(|entry| entry.unwrap().path().unwrap().display().to_string());
    assert_eq!(names.next().as_deref(), Some("in.tar/a.png"));
}
