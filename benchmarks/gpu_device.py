"""What a device does in itself: a large copy, and the kernels of a bare step of training."""

from typing import Any


def measure_copy(numbers: int) -> float:
    """Bytes read and written a second in a copy on the device."""
    import torch
    from steps import DEVICE, time_steps

    source = torch.ones(numbers, device=DEVICE)
    target = torch.empty_like(source)
    return 2 * source.nbytes / time_steps(lambda: target.copy_(source), 10)


def profile_bare(width: int, batch: int, steps: int = 20) -> dict[str, Any]:
    """Seconds of a step, of its kernels, and of the heaviest."""
    import torch
    from steps import DEVICE, make_bare_step, time_steps
    from torch.autograd import DeviceType
    from torch.profiler import ProfilerActivity

    step = make_bare_step(width, batch=batch)
    whole = time_steps(step, 5 * steps)
    activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if DEVICE.type == "cuda" else [])]
    with torch.profiler.profile(activities=activities) as profiler:
        time_steps(step, steps)
    on_gpu = [event for event in profiler.key_averages() if event.device_type == DeviceType.CUDA]
    kernels = [event for event in on_gpu if not event.is_user_annotation]  # a span over kernels counts them twice
    seconds = {event.key[:100]: event.self_device_time_total / 1e6 / (steps + 2) for event in kernels}
    launches = sum(event.count for event in kernels) / (steps + 2)
    heaviest = dict(sorted(seconds.items(), key=lambda pair: -pair[1])[:12])
    return {"step": whole, "kernels": sum(seconds.values()), "launches": launches, "heaviest": heaviest}
