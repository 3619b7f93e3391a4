//! Which vector instructions this CPU has, found out once when the program runs: a default build needs no
//! `target-cpu` and still uses what is there.

use std::sync::OnceLock;

/// Instructions that the kernels are written for. Each has everything of the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
pub enum InstructionSet {
    /// What `rten-gemm` and the compiler make of any CPU: NEON on ARM, SSE on old x86.
    Portable,
    /// x86 with AVX2 and FMA: 8 values at a time.
    Avx2,
    /// x86 with AVX-512 F, BW, DQ and VL: 16 values at a time.
    Avx512,
    /// AVX-512 with VNNI: 64 byte products an instruction.
    Avx512Vnni,
    /// AVX-512 with VNNI and BF16: 32 bf16 products an instruction.
    Avx512Bf16,
}

impl InstructionSet {
    /// From the plainest to the richest.
    const ALL: [Self; 5] = [Self::Portable, Self::Avx2, Self::Avx512, Self::Avx512Vnni, Self::Avx512Bf16];

    /// The fastest set of this CPU: the richest one, but that Intel's multiply bf16 at half the rate of f32 (AMD's at twice): there weights
    /// are widened.
    pub fn best() -> Self {
        static BEST: OnceLock<InstructionSet> = OnceLock::new();
        *BEST.get_or_init(|| {
            let fastest = if multiplies_bf16_slowly() { Self::Avx512Vnni } else { Self::Avx512Bf16 };
            Self::richest().min(fastest)
        })
    }

    /// All that this CPU can run.
    pub(crate) fn richest() -> Self {
        static RICHEST: OnceLock<InstructionSet> = OnceLock::new();
        *RICHEST.get_or_init(detect)
    }

    /// All sets that this CPU can run, the plainest first: what tests go through.
    pub fn available() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|&set| set <= Self::richest())
    }

    /// Whether bf16 values are multiplied as such; elsewhere bf16 weights are widened and multiplied at f32.
    pub fn multiplies_bf16(self) -> bool {
        self >= Self::Avx512Bf16
    }

    /// Its name in messages and reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "AVX2",
            Self::Avx512 => "AVX-512",
            Self::Avx512Vnni => "AVX-512 VNNI",
            Self::Avx512Bf16 => "AVX-512 VNNI BF16",
        }
    }
}

/// Measured on a Granite Rapids server: `vdpbf16ps` 111 Gop/s, f32 217 on one core; Zen 4: 230 and 115.
#[cfg(target_arch = "x86_64")]
fn multiplies_bf16_slowly() -> bool {
    let vendor = std::arch::x86_64::__cpuid(0);
    // "GenuineIntel", as the instruction spells it.
    [vendor.ebx, vendor.edx, vendor.ecx] == [*b"Genu", *b"ineI", *b"ntel"].map(u32::from_le_bytes)
}

#[cfg(not(target_arch = "x86_64"))]
fn multiplies_bf16_slowly() -> bool {
    false
}

#[cfg(target_arch = "x86_64")]
fn detect() -> InstructionSet {
    let has_avx2 = is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma");
    let has_avx512 = has_avx2
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
        && is_x86_feature_detected!("avx512vl");
    let has_vnni = has_avx512 && is_x86_feature_detected!("avx512vnni");
    let has_bf16 = has_vnni && is_x86_feature_detected!("avx512bf16");
    // Detection stops at the first set that is not whole: each has everything of the ones before it.
    let whole = [has_avx2, has_avx512, has_vnni, has_bf16].into_iter().take_while(|&has| has).count();
    InstructionSet::ALL[whole]
}

#[cfg(not(target_arch = "x86_64"))]
fn detect() -> InstructionSet {
    InstructionSet::Portable
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_set_is_an_available_one() {
        assert_eq!(InstructionSet::available().last(), Some(InstructionSet::richest()));
        assert!(InstructionSet::available().any(|set| set == InstructionSet::best()));
        assert_eq!(InstructionSet::available().next(), Some(InstructionSet::Portable));
    }
}
