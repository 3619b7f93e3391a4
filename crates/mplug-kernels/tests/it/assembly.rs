//! The release build of this crate as assembly, its functions, and their innermost loops.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::process::Command;
use std::sync::LazyLock;

/// The functions of this crate as `cargo build --release` compiles them. Several code generation units matter: with one (the
/// default of `--emit asm`) the optimiser takes other ways, and hides what it does in the real build.
pub(crate) fn release_functions() -> &'static [Function] {
    static FUNCTIONS: LazyLock<Vec<Function>> = LazyLock::new(compile);
    &FUNCTIONS
}

fn compile() -> Vec<Function> {
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("assembly");
    let deps = target.join("release/deps");
    remove_old_assembly(&deps);
    let output = Command::new(env!("CARGO"))
        .args(["rustc", "--release", "--offline", "--quiet", "--lib", "--manifest-path"])
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml"))
        .arg("--target-dir")
        .arg(&target)
        .args(["--", "--emit", "asm", "-C", "codegen-units=16", "-C", "symbol-mangling-version=v0"])
        // Coverage and other instrumented runs set these; the loops of interest are those of a plain build.
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_ENCODED_RUSTFLAGS")
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo rustc: {}", String::from_utf8_lossy(&output.stderr));
    let functions: Vec<_> = assembly_files(&deps)
        .flat_map(|path| functions(&std::fs::read_to_string(path).expect("assembly")))
        .collect();
    assert!(!functions.is_empty(), "no assembly in {}", deps.display());
    functions
}

fn assembly_files(deps: &Path) -> impl Iterator<Item = std::path::PathBuf> {
    let entries = std::fs::read_dir(deps).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.filter(|path| {
        path.extension().is_some_and(|extension| extension == "s")
            && path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("mplug_kernels-"))
    })
}

/// Assembly of an older version of the crate would be read with the new one. The crate itself is compiled again, or cargo
/// would see nothing to do.
fn remove_old_assembly(deps: &Path) {
    assembly_files(deps).for_each(|path| std::fs::remove_file(path).expect("old assembly"));
    let fingerprints = deps.with_file_name(".fingerprint");
    for entry in std::fs::read_dir(fingerprints).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("mplug-kernels-") {
            std::fs::remove_dir_all(entry.path()).expect("an old fingerprint");
        }
    }
}

/// A function: its mangled name and its blocks.
pub(crate) struct Function {
    pub(crate) name: String,
    blocks: Vec<Block>,
}

/// Instructions that run one after the other, and the blocks that may come next.
#[derive(Default)]
struct Block {
    instructions: Vec<String>,
    successors: Vec<usize>,
}

/// The functions of one file.
fn functions(assembly: &str) -> Vec<Function> {
    let mut functions = Vec::new();
    let mut current: Option<(String, Vec<&str>)> = None;
    for line in assembly.lines() {
        if line.starts_with(".Lfunc_end") {
            functions.extend(current.take().map(|(name, lines)| Function { name, blocks: blocks(&lines) }));
        } else if let Some(name) = line.strip_suffix(':').filter(|name| name.starts_with("_R")) {
            current = Some((name.to_owned(), Vec::new()));
        } else if let Some((_, lines)) = &mut current {
            lines.push(line);
        }
    }
    functions
}

/// Blocks begin at labels and end with jumps. Jumps through a table are left out: no loop of interest needs them.
fn blocks(lines: &[&str]) -> Vec<Block> {
    let mut blocks = vec![Block::default()];
    let mut labels = HashMap::new();
    let mut jumps = Vec::new();
    let mut falls_through = true;
    for line in lines {
        if let Some(label) = line.strip_suffix(':').filter(|label| label.starts_with(".LBB")) {
            let next = blocks.len();
            if falls_through {
                blocks[next - 1].successors.push(next);
            }
            labels.insert(label, next);
            blocks.push(Block::default());
            falls_through = true;
            continue;
        }
        let text = line.split('#').next().unwrap_or("").trim();
        if text.is_empty() || text.starts_with('.') || text.ends_with(':') {
            continue;
        }
        let at = blocks.len() - 1;
        blocks[at].instructions.push(text.split_whitespace().collect::<Vec<_>>().join(" "));
        let (mnemonic, operands) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        if mnemonic.starts_with('j') {
            jumps.push((at, operands.trim().to_owned()));
        }
        if mnemonic.starts_with('j') || mnemonic.starts_with("ret") || mnemonic.starts_with("ud2") {
            falls_through = !matches!(mnemonic, "jmp" | "jmpq") && mnemonic.starts_with('j');
            if falls_through {
                blocks[at].successors.push(at + 1);
            }
            blocks.push(Block::default());
        }
    }
    for (from, label) in jumps {
        blocks[from].successors.extend(labels.get(label.as_str()));
    }
    let count = blocks.len();
    for block in &mut blocks {
        block.successors.retain(|&next| next < count);
    }
    blocks
}

impl Function {
    /// The instructions of each innermost loop.
    pub(crate) fn innermost_loops(&self) -> Vec<Vec<&str>> {
        let mut found = Vec::new();
        self.collect_innermost(&(0..self.blocks.len()).collect(), &HashSet::new(), &mut found);
        let text = |blocks: Vec<usize>| {
            blocks
                .into_iter()
                .flat_map(|block| self.blocks[block].instructions.iter().map(String::as_str))
                .collect()
        };
        found.into_iter().map(text).collect()
    }

    /// A loop is a set of blocks that reach each other. One whose blocks no longer do once the ways into its first block are
    /// cut has no loop inside.
    fn collect_innermost(
        &self,
        within: &HashSet<usize>,
        cut: &HashSet<usize>,
        found: &mut Vec<Vec<usize>>,
    ) -> bool {
        let mut any = false;
        let mut seen: HashSet<usize> = HashSet::new();
        let mut order: Vec<_> = within.iter().copied().collect();
        order.sort_unstable();
        for block in order {
            if seen.contains(&block) {
                continue;
            }
            let mut members: Vec<_> = self.cycle_of(block, within, cut).into_iter().collect();
            members.sort_unstable();
            let Some(&header) = members.first() else { continue };
            seen.extend(&members);
            any = true;
            let inside = members.iter().copied().collect();
            let mut cut = cut.clone();
            cut.insert(header);
            if !self.collect_innermost(&inside, &cut, found) {
                found.push(members);
            }
        }
        any
    }

    /// The blocks on a way from `block` back to it; none if there is no such way.
    fn cycle_of(&self, block: usize, within: &HashSet<usize>, cut: &HashSet<usize>) -> HashSet<usize> {
        let forward = reach(block, |from| self.blocks[from].successors.clone(), within, cut);
        let predecessors = |to: usize| {
            within
                .iter()
                .copied()
                .filter(|&from| self.blocks[from].successors.contains(&to))
                .collect::<Vec<_>>()
        };
        if !forward.contains(&block) {
            return HashSet::new();
        }
        let mut backward = HashSet::from([block]);
        let mut open = vec![block];
        while let Some(to) = open.pop() {
            if cut.contains(&to) {
                continue;
            }
            open.extend(predecessors(to).into_iter().filter(|&from| backward.insert(from)));
        }
        forward.intersection(&backward).copied().collect()
    }
}

/// What is reached from `start` by at least one step, never stepping into a block that is cut off.
fn reach(
    start: usize,
    next: impl Fn(usize) -> Vec<usize>,
    within: &HashSet<usize>,
    cut: &HashSet<usize>,
) -> HashSet<usize> {
    let mut reached = HashSet::new();
    let mut open = vec![start];
    while let Some(from) = open.pop() {
        let steps = next(from).into_iter().filter(|to| within.contains(to) && !cut.contains(to));
        open.extend(steps.filter(|&to| reached.insert(to)).collect::<Vec<_>>());
    }
    reached
}

#[test]
fn the_innermost_of_two_loops_is_found() {
    let lines = [
        "\txorl %eax, %eax",
        ".LBB0_1:",
        "\tmovl $0, (%rsp)",
        ".LBB0_2:",
        "\tvfmadd231ps %zmm0, %zmm1, %zmm2",
        "\ttestb $1, %al",
        "\tje .LBB0_3",
        "\tprefetcht1 (%rcx)",
        ".LBB0_3:",
        "\tincq %rax",
        "\tjne .LBB0_2",
        "\tjmp .LBB0_1",
        "\tretq",
    ];
    let function = Function { name: "_R".into(), blocks: blocks(&lines) };
    let loops = function.innermost_loops();
    assert_eq!(loops.len(), 1, "{loops:?}");
    assert!(loops[0].contains(&"vfmadd231ps %zmm0, %zmm1, %zmm2") && loops[0].contains(&"prefetcht1 (%rcx)"));
    assert!(!loops[0].contains(&"movl $0, (%rsp)"), "the outer loop's instruction: {loops:?}");
}
