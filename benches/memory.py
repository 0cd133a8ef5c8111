#!/usr/bin/env python3
"""Peak memory of scoring jobs on rasters of several sizes, and how long a very large one takes until its first tile.

The rasters are mosaics (VRT) of one scene, so they take no room; the peak is that of the process (ru_maxrss). The program's
own footprint is that of the same job on one tile. For the largest raster the job is killed when the first message about
its memory (-v) has come: what it took until then is planning.

usage: memory.py GLEBE MODEL SCENE.tif [--sizes 4096,30000] [--plan 200000] [--memory 512MiB] [--blend gaussian] [--work FOLDER]
"""
import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NORMALISED = ["--scale", "255", "--mean", "0.5", "--std", "0.25"]


def side_of(scene):
    text = subprocess.run(["gdalinfo", "-json", scene], check=True, capture_output=True, text=True).stdout
    width, height = json.loads(text)["size"]
    return min(width, height)


def mosaic(path, scene, side, size):
    """A raster of size x size pixels that repeats the scene."""
    bands = []
    for band in (1, 2, 3):
        sources = []
        for y in range(0, size, side):
            for x in range(0, size, side):
                width, height = min(side, size - x), min(side, size - y)
                sources.append(
                    f'<SimpleSource><SourceFilename>{scene}</SourceFilename><SourceBand>{band}</SourceBand>'
                    f'<SourceProperties RasterXSize="{side}" RasterYSize="{side}" DataType="Byte" BlockXSize="512" BlockYSize="512"/>'
                    f'<SrcRect xOff="0" yOff="0" xSize="{width}" ySize="{height}"/>'
                    f'<DstRect xOff="{x}" yOff="{y}" xSize="{width}" ySize="{height}"/></SimpleSource>')
        bands.append(f'<VRTRasterBand dataType="Byte" band="{band}">{"".join(sources)}</VRTRasterBand>')
    path.write_text(f'<VRTDataset rasterXSize="{size}" rasterYSize="{size}">{"".join(bands)}</VRTDataset>')


def command(arguments, raster, folder):
    return [arguments.glebe, "-v", "segment", arguments.model, raster, "-o", folder / "map.tif", "--overwrite", "--driver", "VRT",
            "--memory", arguments.memory, "--blend", arguments.blend, "--threads", "2", "--report", folder / "report.json"] + NORMALISED


def run(arguments, raster, folder):
    process = subprocess.Popen(command(arguments, raster, folder), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status != 0:
        sys.exit(f"{raster}: exit {os.waitstatus_to_exitcode(status)}")
    return usage.ru_maxrss / 1024, json.loads((folder / "report.json").read_text())


def plan(arguments, raster, folder):
    start = time.perf_counter()
    process = subprocess.Popen(command(arguments, raster, folder), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    line = next((line for line in process.stderr if "memory:" in line), "")
    seconds = time.perf_counter() - start
    peak = int(re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{process.pid}/status").read_text()).group(1)) / 1024
    process.send_signal(signal.SIGKILL)
    process.wait()
    return seconds, peak, line.strip()


def main():
    parser = argparse.ArgumentParser()
    for name in ("glebe", "model", "scene"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--sizes", default="4096,30000"), parser.add_argument("--plan", type=int, default=200000)
    parser.add_argument("--memory", default="512MiB"), parser.add_argument("--blend", default="gaussian")
    parser.add_argument("--work", type=Path, help="folder for the maps, by default a temporary one")
    arguments = parser.parse_args()
    scene = arguments.scene.resolve()
    side = side_of(scene)
    with tempfile.TemporaryDirectory(dir=arguments.work) as folder:
        folder = Path(folder)
        print("| raster | tiles | lanes | peak MiB | expected for data MiB | s | Mpx/s | read amplification |")
        print("|---|---|---|---|---|---|---|---|")
        for size in [512] + [int(size) for size in arguments.sizes.split(",")]:
            raster = folder / f"{size}.vrt"
            mosaic(raster, scene, side, size)
            peak, report = run(arguments, raster, folder)
            print(f"| {size} x {size} | {report['tiles_computed']} | {report['lanes']} | {peak:.0f} "
                  f"| {report['memory_predicted_mib']:.0f} | {report['wall_s']:.1f} | {report['mpx_per_s']:.2f} "
                  f"| {report['read_amplification']:.2f} |", flush=True)
        raster = folder / "plan.vrt"
        mosaic(raster, scene, side, arguments.plan)
        seconds, peak, line = plan(arguments, raster, folder)
        print(f"\n{arguments.plan} x {arguments.plan}: planned after {seconds:.2f} s with {peak:.0f} MiB\n{line}")


if __name__ == "__main__":
    main()
