"""The front-end for sound: log-mel frames, shortened by convolutions or in patches."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal, get_args

from torch import Tensor, nn

from seqattn.batch import SequenceBatch
from seqattn.frontends.audio_augmentation import AudioAugmentation
from seqattn.frontends.audio_features import LogMel
from seqattn.frontends.audio_layers import ConvolutionalSubsampling, SpectrogramPatches, centres
from seqattn.frontends.audio_libraries import require_audio_libraries
from seqattn.frontends.audio_residual import ResidualSubsampling
from seqattn.frontends.audio_vectorizer import AudioVectorizer, Corrupt
from seqattn.frontends.base import FrontEnd
from seqattn.layers.dropout import Dropout

Reduction = Literal["convolution", "residual", "patches"]


class AudioFrontEnd(FrontEnd):
    """Gives a vector to each stretch of a sound.

    A raw source is the path of a sound file, an :class:`~seqattn.AudioClip`, or a tuple (waveform,
    rate); see :class:`AudioVectorizer` for the features. A budget of tokens counts frames, before
    they are shortened.

    Args:
        rate: samples per second that every sound is brought to.
        window_ms: what one frame sees, in milliseconds.
        hop_ms: from one frame to the next, in milliseconds; rounded to whole samples.
        mels: bands of the spectrum.
        low_hz: where the lowest band begins.
        high_hz: where the highest band ends; None for half of `rate`.
        range_db: decibels below a sound's loudest frame and band that are kept; recordings of
            other loudness or background then look alike. None keeps everything.
        center: share of each band's mean over the sound that is taken off, True for all: a
            speaker or a microphone that training never had then matters less. A long file is
            levelled piece by piece.
        subsampling: frames that become one position: 1, 2, 4 or 8; for patches any number.
        reduction: how they do: ``convolution`` over time and frequency; ``residual``, more and
            wider convolutions with batch normalisation (see :class:`ResidualSubsampling`), slower
            and better with few recordings; or ``patches`` of that many whole frames, through one
            linear layer.
        channels: of the convolutions; with ``residual`` of the first, and twice as many in each
            stage after it.
        crop_share: longest stretch cut off at each end in training, as a share of the sound.
        silence_seconds: longest silence at each end of half of the training sounds.
        speeds: factors of the speed, one of which is drawn in training: [0.9, 1.0, 1.1], say.
        vocal_tract: largest relative change of the length of the vocal tract that is drawn in
            training, which moves frequencies and not time (Jaitly & Hinton 2013).
        equalizer_db: standard deviation of a gain over the bands that is drawn in training.
        noise_folder: sound files that are added to half of the training sounds.
        colored_noise: whether noise of a random colour, white to brown, is added to half of the
            training sounds; no file is needed.
        noise_snr: lowest and highest signal-to-noise ratio of both, in decibels.
        room_folder: impulse responses of rooms that half of the training sounds are heard in.
        time_masks: stretches of frames that are masked in training (Park et al. 2019).
        time_mask_share: longest of them, as a share of the frames.
        frequency_masks: ranges of bands that are masked in training.
        frequency_mask_share: widest of them, as a share of the bands.
        corrupt: what is done with a damaged sound: ``error``, ``skip`` or ``pad``.
        piece_seconds: longest sound that `predict` takes at once.
        dropout: probability of dropout on the vectors.
        embedding_norm: whether the vectors are layer-normalised before dropout.

    Raises:
        ValueError: if an argument breaks a rule above.
        ImportError: if the libraries of seqattn[audio] are missing or do not load.
    """

    vectorizer: AudioVectorizer

    def __init__(
        self,
        rate: int = 16_000,
        *,
        window_ms: float = 25.0,
        hop_ms: float = 10.0,
        mels: int = 80,
        low_hz: float = 20.0,
        high_hz: float | None = None,
        range_db: float | None = None,
        center: bool | float = False,
        subsampling: int = 4,
        reduction: Reduction = "convolution",
        channels: int = 32,
        crop_share: float = 0.0,
        silence_seconds: float = 0.0,
        speeds: Sequence[float] = (1.0,),
        vocal_tract: float = 0.0,
        equalizer_db: float = 0.0,
        noise_folder: str | None = None,
        colored_noise: bool = False,
        noise_snr: tuple[float, float] = (5.0, 20.0),
        room_folder: str | None = None,
        time_masks: int = 0,
        time_mask_share: float = 0.1,
        frequency_masks: int = 0,
        frequency_mask_share: float = 0.2,
        corrupt: Corrupt = "error",
        piece_seconds: float = 60.0,
        dropout: float = 0.1,
        embedding_norm: bool = False,
    ) -> None:
        super().__init__()
        _require_reduction(reduction, subsampling, channels)
        require_audio_libraries()
        self.vectorizer = AudioVectorizer(
            LogMel(
                rate,
                window=_samples_in("window_ms", window_ms, rate),
                hop=_samples_in("hop_ms", hop_ms, rate),
                mels=mels,
                low_hz=low_hz,
                high_hz=rate / 2 if high_hz is None else high_hz,
                range_db=range_db,
                center=center,
            ),
            AudioAugmentation(
                crop_share=crop_share,
                silence_seconds=silence_seconds,
                speeds=speeds,
                vocal_tract=vocal_tract,
                equalizer_db=equalizer_db,
                noise_folder=noise_folder,
                colored_noise=colored_noise,
                noise_snr=noise_snr,
                room_folder=room_folder,
                time_masks=time_masks,
                time_mask_share=time_mask_share,
                frequency_masks=frequency_masks,
                frequency_mask_share=frequency_mask_share,
            ),
            corrupt=corrupt,
            piece_seconds=piece_seconds,
            rows_per_position=subsampling,
        )
        self.subsampling = subsampling
        self.reduction = reduction
        self.channels = channels
        self.keeps_positions = subsampling == 1
        self.embedding_norm = embedding_norm
        self.dropout = Dropout(dropout)

    @property
    def output_seconds(self) -> float:
        """What one position covers, in seconds; position j begins at j times that."""
        return self.subsampling * self.vectorizer.frame_seconds

    def position_labels(self, raw: Any) -> list[str]:
        """Return the time at the centre of each position of a sound, in seconds."""
        count = -(-self.vectorizer.length(raw) // self.subsampling)
        return [f"{(place + 0.5) * self.output_seconds:.2f}" for place in range(count)]

    def build(self, dim: int) -> None:
        """Make the layers; see :meth:`FrontEnd.build`."""
        mels = self.vectorizer.features.mels
        self.shorten: ConvolutionalSubsampling | ResidualSubsampling | SpectrogramPatches
        if self.reduction == "patches":
            self.shorten = SpectrogramPatches(mels, dim, self.subsampling)
        elif self.reduction == "residual":
            self.shorten = ResidualSubsampling(mels, self.channels, dim, self.subsampling)
        else:
            self.shorten = ConvolutionalSubsampling(mels, self.channels, dim, self.subsampling)
        self.norm = nn.LayerNorm(dim) if self.embedding_norm else nn.Identity()

    def forward(self, batch: SequenceBatch) -> SequenceBatch:
        """Return the batch with values (T', D): ⌈L / subsampling⌉ positions of each sound.

        Targets and `labelled` per frame become those of the frame in the middle of a position.
        Targets per sequence and target sequences stay.

        Shape:
            batch.values: (T, mels), as :class:`AudioVectorizer` makes them.
        """
        values = batch.values.to(self.shorten.linear.weight.dtype)
        x, packing = self.shorten(values, batch.packing)  # (T', D)
        x = self.dropout(self.norm(x))
        if packing is batch.packing:
            return batch.replace(values=x)
        rows = centres(batch.packing, packing, self.subsampling)
        targets = batch.targets
        # Every sound has a frame, so T = B only where each has one, and `rows` keeps them all.
        if isinstance(targets, Tensor) and len(targets) == len(batch.values):
            targets = targets[rows]
        return batch.replace(
            values=x,
            offsets=packing.offsets,
            packing=packing,
            targets=targets,
            labelled=None if batch.labelled is None else batch.labelled[rows],
        )


def _samples_in(name: str, milliseconds: float, rate: int) -> int:
    if not math.isfinite(milliseconds * rate):
        raise ValueError(f"{name} and rate must be finite, got {milliseconds} and {rate}")
    return round(milliseconds * rate / 1000)


def _require_reduction(reduction: str, subsampling: int, channels: int) -> None:
    if reduction not in get_args(Reduction):
        kinds = ", ".join(get_args(Reduction))
        raise ValueError(f"reduction must be one of {kinds}, got {reduction!r}")
    if subsampling < 1 or (reduction != "patches" and subsampling not in (1, 2, 4, 8)):
        raise ValueError(
            "subsampling must be 1, 2, 4 or 8, or for patches any number of frames, "
            f"got {subsampling}"
        )
    if channels < 1:
        raise ValueError(f"channels must be at least 1, got {channels}")
