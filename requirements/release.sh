#!/usr/bin/env bash
# `make release`: dist/ with the wheel, the sdist, an SBOM with licences, and checksums; nothing is uploaded.
# The wheel is installed into a fresh environment and runs the smoke experiment from an empty folder.
set -euo pipefail
cd "$(dirname "$0")/.."
PYTHON=${PYTHON:-python3}
grep -q "^## $(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml) " CHANGELOG.md || { echo "CHANGELOG.md has no entry for this version"; exit 1; }
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
rm -rf dist

uv build --quiet --out-dir dist --build-constraints requirements/build.lock --require-build-hashes
uv tool run --quiet --from twine==7.0.0 twine check --strict dist/*.whl dist/*.tar.gz

"$PYTHON" requirements/install.py run "$scratch/venv"
uv pip install --quiet --python "$scratch/venv" --no-deps --reinstall dist/*.whl
(cd "$scratch" && venv/bin/python -c 'import star_loop; assert "site-packages" in star_loop.__file__'
 venv/bin/star_loop experiment=smoke iterations=2 && venv/bin/python -m star_loop.doctor)

uv tool run --quiet --from cyclonedx-bom==7.5.0 cyclonedx-py environment --output-reproducible \
    --output-file dist/sbom.cdx.json "$scratch/venv/bin/python"
(cd dist && sha256sum -- *.whl *.tar.gz *.json >SHA256SUMS)
ls -l dist
