// Converts a folder of SFDX source to metadata format: node convert.cjs FORCE_APP OUTPUT
const { ComponentSet, MetadataConverter } = require("@salesforce/source-deploy-retrieve");

const [source, output] = process.argv.slice(2);
const components = ComponentSet.fromSource(source);
components.sourceApiVersion = "62.0";
new MetadataConverter()
  .convert(components, "metadata", { type: "directory", outputDirectory: output, genUniqueDir: false })
  .catch((error) => {
    console.error(`${error.name}: ${error.message}`);
    process.exit(1);
  });
